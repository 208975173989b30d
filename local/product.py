"""The product as its processes, as in production: started, waited for, stopped, killed.

Benchmarks, drills and tests run it this way, each on the broker, database and SMTP server that it has.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from local import leash, ports
from local.errors import Unavailable
from local.parts import python

ROOT = Path(__file__).resolve().parents[1]
EMAIL, PASSWORD, KEY = "admin@posthaste.example", "correct horse battery", "ph_" + "test" * 10
UP_SECONDS = 60.0
END_SECONDS = 60.0
COMMANDS = {
    "web": python("crm_api", "web"),
    "dispatch": python("crm_api", "dispatch"),
    "sandbox": python("crm_api", "sandbox"),
    "mailroom": python("email_service"),
}
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Product:
    """folder: the data directory; the parts' logs lie in it, too."""

    folder: Path
    environment: dict[str, str]
    port: int
    parts: dict[str, leash.Leashed] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, name: str) -> list[str]:
        return COMMANDS[name]

    def log_file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        path = self.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *names: str) -> None:
        """Returns when they are up; default: all. Raises Unavailable."""
        for name in names or tuple(COMMANDS):
            (self.folder / "ready" / name).unlink(missing_ok=True)  # of a life that was killed
            with self.log_file(name).open("ab") as output:
                self.parts[name] = leash.start(
                    self.command(name), env=self.environment, cwd=ROOT, stdout=output, stderr=output
                )
        deadline = time.monotonic() + UP_SECONDS
        for name in names or tuple(COMMANDS):
            while not self.ready(name):
                if time.monotonic() > deadline:
                    raise Unavailable(f"{name} is not up after {UP_SECONDS:.0f} s:\n{self.log(name)[-2000:]}")
                time.sleep(0.05)

    def ready(self, name: str) -> bool:
        """Raises Unavailable if it has ended."""
        code = self.parts[name].poll()
        if code is not None:
            raise Unavailable(f"{name} ended with {code}:\n{self.log(name)[-4000:]}")
        if name != "web":
            return (self.folder / "ready" / name).exists()
        try:
            with _opener.open(f"{self.url}/health/ready", timeout=2.0) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM to all of them, then how each ended; -9: it had to be killed."""
        stopping = names or tuple(self.parts)
        for name in stopping:
            self.parts[name].terminate()
        return {name: self._end(self.parts.pop(name)) for name in stopping}

    @staticmethod
    def _end(part: leash.Leashed) -> int:
        try:
            return part.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            part.kill()
            return part.wait()

    def kill(self, name: str) -> None:
        """With all that it started."""
        self.parts[name].kill()
        self.parts.pop(name).wait(30)
        (self.folder / "ready" / name).unlink(missing_ok=True)

    def kill_all(self) -> None:
        for part in self.parts.values():
            part.kill()
        for part in self.parts.values():
            part.wait(30)
        self.parts.clear()


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """What the parts are told. workers=2 becomes POSTHASTE_WORKERS=2; nothing of the caller's own settings."""
    given = {
        "data_dir": folder,
        "port": ports.free_port(),
        "sandbox_smtp_port": ports.free_port(),
        "admin_email": EMAIL,
        "admin_password": PASSWORD,
        "api_key": KEY,
        "samples": 0,
    } | {name.lower(): value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    # What Python compiles is kept: a user's processes start with it.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return inherited | {f"POSTHASTE_{name.upper()}": str(value) for name, value in given.items()}


def migrate(settings: dict[str, str]) -> None:
    """Raises Unavailable."""
    migration = leash.start(python("crm_api", "migrate"), env=settings, cwd=ROOT, stdout=sys.stderr)
    if migration.wait(60) != 0:
        raise Unavailable("the database could not be migrated")


P = TypeVar("P", bound=Product)


@contextlib.contextmanager
def running(kind: type[P], folder: Path, **settings: object) -> Iterator[P]:
    """Migrated, with an administrator and an API key; nothing is started yet. Whatever runs at the end is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    told = environment(folder, **settings)
    migrate(told)
    made = kind(folder, told, int(told["POSTHASTE_PORT"]))
    try:
        yield made
    finally:
        made.kill_all()
