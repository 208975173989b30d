"""`make run`, end to end: up, used, down, and nothing left."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from local.house import SECRETS
from local.management import Management
from local.rabbitmq import Node
from tests.support.launcher import Launcher
from tests.support.processes import can_see_marks
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not can_see_marks, reason="finds processes through /proc, which is Linux only"),
    # Seven processes and a broker, twice, on a machine that may be busy.
    pytest.mark.timeout(300),
]

Launch = Callable[..., Launcher]


@pytest.fixture
def launch(rabbitmq: Node) -> Iterator[Launch]:
    """Starts copies, once it is known that there is a RabbitMQ to be had; kills what a test leaves."""
    launched: list[Launcher] = []

    def start(data_dir: Path, *, under: tuple[str, ...] = (), **settings: str) -> Launcher:
        launched.append(Launcher(data_dir, under=under, **settings))
        return launched[-1]

    yield start
    for one in launched:
        one.end(signal.SIGKILL)
        wait_until(lambda one=one: not one.left(), "everything gone", seconds=20)  # type: ignore[misc]


def signs_in(url: str, email: str, password: str) -> bool:
    answer = httpx2.post(f"{url}/sign-in", data={"email": email, "password": password}, headers={"Origin": url})
    assert answer.status_code in (303, 401), answer.text
    return answer.status_code == 303


# what stands in the environment of each process, and of its children
KNOWN = {
    "web": {"DATABASE_URL"},
    "dispatch": {"DATABASE_URL", "AMQP_URL"},
    "sandbox": set(),
    "email_service": {"AMQP_URL", "SMTP_URL"},
    "beam.smp": set(),
    "epmd": set(),
}


def secrets_of_the_parts(launcher: Launcher) -> dict[str, set[str]]:
    found = {}
    for part in KNOWN:
        pids = launcher.pids_of(*(("-m", part) if part not in ("beam.smp", "epmd") else (part,)))
        assert pids, f"{part} is not running"
        told = [f"/proc/{pid}/{what}" for pid in pids for what in ("environ", "cmdline")]
        words = b"\0".join(Path(each).read_bytes() for each in told).decode()
        found[part] = {name for name in SECRETS if re.search(rf"POSTHASTE_{name}(_FILE)?=", words)}
        assert ("sesame-of-the-admin" in words, "sesame-of-smtp" in words) == (False, part == "email_service")
    return found


def open_to_others(folder: Path) -> list[Path]:
    """An Erlang node keeps its own house; nobody else gets into its folder."""
    return [
        path
        for path in [folder, *folder.rglob("*")]
        if path.exists() and path.stat().st_mode & 0o077 and "rabbitmq" not in path.relative_to(folder).parts[:-1]
    ]


def test_a_first_and_a_second_start(launch: Launch, tmp_path: Path) -> None:
    given = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/data/crm.sqlite",
        "SMTP_URL": "smtp://me:sesame-of-smtp@127.0.0.1:1?tls=none",
        "ADMIN_PASSWORD": "",
    }
    first = launch(tmp_path / "data", API_KEY="sesame-of-the-admin" * 2, **given)
    first.wait_until_ready()

    assert "Sign in" in httpx2.get(f"{first.url}/", follow_redirects=True).text
    email, password = first.fact("Sign in")
    assert signs_in(first.url, email, password)
    assert not signs_in(first.url, email, "guessed")
    console, user_and_password = first.fact("RabbitMQ")
    user, _, console_password = user_and_password.partition(" / ")
    assert Management(console, user, console_password).answers()
    assert open_to_others(tmp_path / "data") == []
    for part, known in secrets_of_the_parts(first).items():
        assert known == KNOWN[part], f"{part} knows {known}"

    os.kill(first.pid_of("beam.smp"), signal.SIGKILL)
    first.wait_for("rabbitmq  ended, starting again")
    wait_until(lambda: Management(console, user, console_password).answers(), "the same broker again")

    second_copy = launch(tmp_path / "data")
    assert second_copy.wait(30) == 1
    assert "already runs with the data directory" in second_copy.said

    assert first.end(signal.SIGTERM) == 0
    assert first.left() == {}
    assert first.lines[-1].endswith("stopped")
    assert not list((tmp_path / "data" / "ready").iterdir())

    second = launch(tmp_path / "data", PORT=str(first.port), **given)
    second.wait_until_ready()
    assert second.fact("RabbitMQ") == first.fact("RabbitMQ")
    assert password not in second.said
    assert second.fact("Sign in")[1].endswith("local.json")
    assert signs_in(second.url, email, password)
    assert second.end(signal.SIGINT) == 0
    assert second.left() == {}


def test_kill_9_leaves_nothing(launch: Launch, tmp_path: Path) -> None:
    launcher = launch(tmp_path / "data")
    launcher.wait_until_ready()
    commands = " ".join(launcher.left().values())
    for part in ("beam.smp", "epmd", "erl_child_setup", "crm_api web", "email_service worker"):
        assert part in commands
    launcher.process.kill()
    wait_until(lambda: not launcher.left(), "everything gone", seconds=20)


def test_kill_9_of_make_stops_everything_in_order(launch: Launch, amqp_url: str, tmp_path: Path) -> None:
    launcher = launch(tmp_path / "data", under=("sh", "-c", '"$@"; exit', "make"), AMQP_URL=amqp_url)
    launcher.wait_until_ready()
    launcher.process.kill()
    wait_until(lambda: not launcher.left(), "everything gone", seconds=60)
    launcher.wait()
    assert launcher.lines[-1].endswith("stopped")


def test_ctrl_c_while_it_starts_leaves_nothing(launch: Launch, tmp_path: Path) -> None:
    launcher = launch(tmp_path / "data")
    launcher.wait_for("starting RabbitMQ")
    wait_until(lambda: any("beam.smp" in command for command in launcher.left().values()), "the broker to be started")
    assert launcher.end(signal.SIGINT) == 0
    assert launcher.left() == {}


def test_with_a_broker_of_ones_own_and_parts_that_die(launch: Launch, amqp_url: str, tmp_path: Path) -> None:
    launcher = launch(tmp_path / "data", AMQP_URL=amqp_url, ADMIN_PASSWORD="chosen by the test")
    launcher.wait_until_ready()
    assert not any("beam.smp" in command for command in launcher.left().values())
    shown, _ = launcher.fact("RabbitMQ")
    assert shown == f"amqp://{amqp_url.rpartition('@')[2]}"
    assert "chosen by the test" not in launcher.said

    for name in ("dispatch", "web"):
        pid = launcher.pid_of("crm_api", name)
        os.kill(pid, signal.SIGKILL)
        launcher.wait_for(f"{name}  ended (exit code -9), starting again")
        wait_until(
            lambda pid=pid, name=name: launcher.pids_of("crm_api", name) - {pid},  # type: ignore[misc]
            f"another {name}",
        )

    def answers() -> bool:
        try:
            return httpx2.get(f"{launcher.url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(answers, "web to answer again")
    assert launcher.end(signal.SIGTERM) == 0
    assert launcher.left() == {}


def test_a_migration_that_fails_says_so_and_leaves_nothing(launch: Launch, tmp_path: Path) -> None:
    launcher = launch(tmp_path / "data", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", AMQP_URL="amqp://x/")
    assert launcher.wait(60) == 1
    assert "The database could not be migrated" in launcher.said
    assert launcher.left() == {}
