"""A private PgBouncer in transaction mode before a private PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from local import debian, leash, ports
from local.errors import Unavailable
from local.postgresql import _unprivileged_user

MODES = ("transaction", "session")


def _program(say: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    if found := shutil.which("pgbouncer"):
        return found, {}
    folder = debian.unpacked("pgbouncer", own="^(pgbouncer|libc-ares.*|libevent.*)$", say=say)
    libraries = ":".join(str(path) for path in (folder / "usr" / "lib").glob("*-linux-gnu*"))
    program, environment = str(folder / "usr" / "sbin" / "pgbouncer"), {"LD_LIBRARY_PATH": libraries}
    tried = subprocess.run([program, "--version"], env=os.environ | environment, capture_output=True, check=False)
    if tried.returncode != 0:
        raise Unavailable(f"pgbouncer does not start here: {tried.stderr.decode()[-300:]}")
    return program, environment


@contextlib.contextmanager
def pooled(url: str, mode: str, say: Callable[[str], None]) -> Iterator[str]:
    """The same database, over the pooler. Raises Unavailable."""
    program, environment = _program(say)
    to, port, user = urlsplit(url), ports.free_port(), _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="posthaste-pgbouncer-"))
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={to.port} user={to.username} password={unquote(to.password or '')}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = 10\nmax_client_conn = 200\n"
    )
    if user:
        shutil.chown(folder, user)
        shutil.chown(settings, user)
    with (folder / "log").open("wb") as output:
        process = leash.start(
            [program, str(settings)],
            env=os.environ | environment,
            cwd="/",
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
        )
    try:
        _wait(port, process, folder / "log")
        yield f"postgresql://{to.username}:x@127.0.0.1:{port}{to.path}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: leash.Leashed, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"pgbouncer does not start: {log.read_text()[-500:]}")
        time.sleep(0.05)
