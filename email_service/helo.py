"""How the mail room names itself in EHLO: its full host name, else its address (RFC 5321, sections 2.3.5 and 4.1.4).

Strict servers refuse a bare name like "north" (`504 5.5.2 Helo command rejected: need fully-qualified hostname`).
"""

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from functools import lru_cache

LOOK_UP_SECONDS = 3
_NAME = re.compile(r"(?=.{1,253}$)(?:(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)", re.ASCII)
_LOCAL = ("localhost", "localdomain", "local", "internal", "invalid")


def is_full_name(name: str) -> bool:
    """A host name with its domain, that may mean something to others."""
    *rest, last = name.lower().split(".")
    return bool(_NAME.fullmatch(name)) and bool(rest) and last not in _LOCAL and not last.isdigit()


def is_literal(name: str) -> bool:
    """[192.0.2.1] or [IPv6:2001:db8::1] (section 4.1.3)."""
    if not (name.startswith("[") and name.endswith("]")):
        return False
    address = name[1:-1]
    version = 6 if address[:5].upper() == "IPV6:" else 4
    try:
        return ipaddress.ip_address(address[5:] if version == 6 else address).version == version
    except ValueError:
        return False


def is_name(name: str) -> bool:
    """Whatever may stand after EHLO, a bare host name included."""
    return is_literal(name) or (bool(_NAME.fullmatch(name)) and not name.rpartition(".")[2].isdigit())


def literal(address: str) -> str:
    """address: of an IP socket, perhaps with a zone (fe80::1%eth0)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return f"[IPv6:{found}]" if found.version == 6 else f"[{found}]"


@lru_cache
def own_name(host: str, server: str, port: int) -> str:
    """The full name of this host if it has one, else the address from which it reaches the server. May ask the DNS."""
    if is_full_name(host):
        return host
    if is_full_name(full := _in_time(lambda: _canonical(host))):
        return full
    return literal(_in_time(lambda: _local_address(server, port)) or "127.0.0.1")


def _canonical(host: str) -> str:
    return socket.getaddrinfo(host, None, flags=socket.AI_CANONNAME)[0][3]


def _local_address(server: str, port: int) -> str:
    """Connecting a datagram socket sends nothing: the system only chooses the way."""
    for family, kind, _, _, address in socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM):
        with contextlib.suppress(OSError), socket.socket(family, kind) as one:
            one.connect(address)
            return str(one.getsockname()[0])
    return ""


def _in_time(look: Callable[[], str]) -> str:
    """What it finds, or nothing: a DNS that does not answer must not hold the mail room up."""
    found: list[str] = []

    def run() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.append(look())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LOOK_UP_SECONDS)
    return found[0] if found else ""


def complaint(name: str) -> tuple[str, str] | None:
    """What is wrong with it, and what to do; None: it is a full host name."""
    if is_full_name(name):
        return None
    advice = (
        "Some servers refuse that. Put this machine's full host name, one that the DNS knows, into "
        "POSTHASTE_HELO_NAME, and start the mail room again."
    )
    return f"The mail room has no full host name and calls itself {name}.", advice
