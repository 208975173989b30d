"""A private PostgreSQL cluster for tests: own folder, free port, loopback only, gone when its parent is.

It gives up durability (fsync off) for speed, unless told otherwise, and is for tests only; who runs Posthaste on
PostgreSQL brings a server and sets ``POSTHASTE_DATABASE_URL``.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from local import debian, leash, ports
from local.environment import without_settings
from local.errors import LocalError, Unavailable

Say = Callable[[str], None]

ADVICE = "No PostgreSQL here and no way to get one by itself: install postgresql (13 or newer)."
USER = "posthaste"
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = {durable}
synchronous_commit = {durable}
full_page_writes = {durable}
max_connections = 200
shared_buffers = 64MB
max_wal_size = 256MB
"""


def find_programs(say: Say = lambda _: None) -> tuple[Path, dict[str, str]]:
    """The folder with ``initdb`` and ``postgres``, and the environment they need; raises ``Unavailable``."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*"), key=_version, reverse=True)
    for kegs in ("/opt/homebrew/opt", "/usr/local/opt"):
        homes += sorted(Path(kegs).glob("postgresql*"), key=_version, reverse=True)
    for candidate in [home / "bin" for home in homes]:
        if (candidate / "initdb").is_file() and (candidate / "postgres").is_file():
            return candidate, {}
    in_path = shutil.which("initdb")
    if in_path is not None:
        return Path(in_path).resolve().parent, {}
    try:
        root = debian.unpacked(
            "postgresql",
            own=r"^(postgresql-\d+|postgresql-client-\d+|libpq5)$",
            without=(
                "postgresql",
                "postgresql-common",
                "postgresql-client-common",
                "ssl-cert",
                "adduser",
                "openssl",
            ),
            say=say,
        )
    except Unavailable as error:
        raise Unavailable(f"{ADVICE} (Tried: {error}.)") from error
    found = sorted((root / "usr/lib/postgresql").glob("*/bin"), key=lambda path: _version(path.parent))
    return found[-1], {"LD_LIBRARY_PATH": debian.library_path(root)}


def _version(path: Path) -> int:
    return int((re.findall(r"\d+", path.name) or ["0"])[-1])


class Cluster:
    """A running cluster. ``url`` is a superuser's, in psycopg's and SQLAlchemy's common form."""

    def __init__(self, *, say: Say = lambda _: None, durable: bool = False) -> None:
        """durable: a commit is on the disk, as in production."""
        self._say, self._durable = say, durable
        self._server: leash.Leashed | None = None
        self._password = secrets.token_urlsafe(18)
        self._folder: Path | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        return f"postgresql://{USER}:{quote(self._password)}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """Of the server, while it runs; its workers are its children."""
        assert self._server is not None
        return self._server.pid

    def start(self) -> None:
        """Create and start; returns when it takes connections. Raises ``LocalError``."""
        programs, environment = find_programs(self._say)
        user = _unprivileged_user()
        # Not pytest's folder: as root that is closed to the user the server runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="posthaste-postgresql-"))
        try:
            if user is not None:
                shutil.chown(self._folder, user)
            self._initialise(programs, environment, user)
            self.port = ports.free_port()
            self._serve(programs, environment, user)
        except BaseException:
            self.stop()
            raise

    def _initialise(self, programs: Path, environment: dict[str, str], user: str | None) -> None:
        assert self._folder is not None
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if user is not None:
            shutil.chown(password_file, user)
        command: list[str | Path] = [
            programs / "initdb",
            "--pgdata",
            self._folder / "data",
            "--username",
            USER,
        ]
        # scram takes 15 ms a connection, a fifth of a test; the password is random and lives as long as the cluster
        command += ["--pwfile", password_file, "--auth", "md5", "--no-sync"]
        command += ["--encoding", "UTF8", "--locale", "C"]
        log = self._folder / "initdb.log"
        with log.open("wb") as output:
            code = leash.start(
                command,
                env=without_settings(os.environ) | environment,
                cwd="/",
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
            ).wait()
        if code != 0:
            raise LocalError(f"initdb ended with exit code {code}:\n{log.read_text()[-2000:]}")
        password_file.unlink()
        with (self._folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(durable="on" if self._durable else "off"))

    def _serve(self, programs: Path, environment: dict[str, str], user: str | None) -> None:
        assert self._folder is not None
        log = self._folder / "postgresql.log"
        with log.open("ab") as output:
            self._server = leash.start(
                [programs / "postgres", "-D", self._folder / "data", "-p", str(self.port)],
                env=without_settings(os.environ) | environment,
                cwd="/",
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
            )
        ready: list[str | Path] = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60.0
        while subprocess.run(ready, env=without_settings(os.environ) | environment, check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise LocalError(f"PostgreSQL does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def crash(self) -> None:
        """As kill -9 of all its processes would; `start_again` brings it back on the same port, with its data."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def start_again(self) -> None:
        """Raises ``LocalError``."""
        programs, environment = find_programs(self._say)
        self._serve(programs, environment, _unprivileged_user())

    def stop(self) -> None:
        """Stop at once and delete everything."""
        self.crash()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root: who to be instead, None if we are nobody special already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Unavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody to drop to")
