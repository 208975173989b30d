"""The whole product as its processes, on a broker and a database that the test has."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from local import leash
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
EMAIL, PASSWORD, KEY = "admin@posthaste.example", "correct horse battery", "ph_" + "test" * 10
PARTS = ("web", "dispatch", "sandbox", "mailroom")
_COMMANDS = {
    "web": ("crm_api", "web"),
    "dispatch": ("crm_api", "dispatch"),
    "sandbox": ("crm_api", "sandbox"),
    "mailroom": ("email_service",),
}


@dataclass
class Stack:
    data_dir: Path
    environment: dict[str, str]
    port: int
    parts: dict[str, leash.Leashed] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=70)

    def start(self, *names: str) -> None:
        for name in names or PARTS:
            with (self.data_dir / f"{name}.log").open("ab") as log:
                self.parts[name] = leash.start(
                    [sys.executable, "-m", *_COMMANDS[name]], env=self.environment, cwd=ROOT, stdout=log, stderr=log
                )
        for name in names or PARTS:
            wait_until(lambda name=name: self.ready(name), f"{name} is up: {self.log(name)[-2000:]}", seconds=60)  # type: ignore[misc]

    def ready(self, name: str) -> bool:
        code = self.parts[name].poll()
        assert code is None, f"{name} ended with {code}:\n{self.log(name)[-4000:]}"
        if name != "web":
            return (self.data_dir / "ready" / name).exists()
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/health/ready").status_code == 200
        return False

    def log(self, name: str) -> str:
        path = self.data_dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM, then how each ended."""
        for name in names or tuple(self.parts):
            self.parts[name].terminate()
        return {name: self.parts.pop(name).wait(60) for name in names or tuple(self.parts)}

    def kill(self, name: str) -> None:
        self.parts[name].kill()
        self.parts.pop(name).wait(30)
        (self.data_dir / "ready" / name).unlink(missing_ok=True)


@contextlib.contextmanager
def stack(data_dir: Path, database_url: str, amqp_url: str, **settings: Any) -> Iterator[Stack]:
    """Migrated, with an administrator and an API key; nothing is started yet. Whatever runs at the end is killed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    port = free_port()
    given = {
        "DATA_DIR": data_dir,
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "PORT": port,
        "SANDBOX_SMTP_PORT": free_port(),
        "ADMIN_EMAIL": EMAIL,
        "ADMIN_PASSWORD": PASSWORD,
        "API_KEY": KEY,
        "ROOM": "north",
        "WORKERS": 1,
    } | {name.upper(): value for name, value in settings.items()}
    environment = inherited | {f"POSTHASTE_{name}": str(value) for name, value in given.items()}
    data_dir.mkdir(parents=True, exist_ok=True)
    made = Stack(data_dir, environment, port)
    migrate = leash.start([sys.executable, "-m", "crm_api", "migrate"], env=environment, cwd=ROOT)
    assert migrate.wait(60) == 0
    try:
        yield made
    finally:
        for part in made.parts.values():
            part.kill()
            part.wait(30)
