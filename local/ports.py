"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import contextlib
import random
import socket

# Below the range the kernel takes for outgoing connections, so that a port which is free now, or was
# remembered from the last start, is not lost to somebody's client socket.
FIRST, LAST = 20_000, 31_999

_handed_out: set[int] = set()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT do not make a port taken, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((host, port))
            probe.listen(1)
            return True
    return False


def is_ours(host: str) -> bool:
    """Whether this machine has that address, so that something can listen there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True


def listens(port: int) -> bool:
    """Whether somebody listens there, on this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port nobody listens on; the same process never gets the same one twice."""
    for port in random.sample(range(FIRST, LAST + 1), 500):
        if port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port
    raise OSError(f"no free port between {FIRST} and {LAST} on 127.0.0.1")
