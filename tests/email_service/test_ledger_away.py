"""A mail room that is told to stop ends in time, however its ledger fails, and gives back what is not settled."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from local import leash
from local.postgresql import Cluster
from shared import topology
from tests.support.mailroom import SHORT, Rig, command
from tests.support.silent_database import Door
from tests.support.smtp_server import Answer, SmtpServer
from tests.support.waiting import eventually

DRAIN = 2
LIMIT = DRAIN + 60  # the supervisor's own margins, and a busy machine


@pytest.fixture
def ledger(postgresql: Cluster) -> Iterator[Door]:
    name = f"ledger_{secrets.token_hex(6)}"
    with psycopg.connect(postgresql.url, autocommit=True) as administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with Door(postgresql.url_for(name)) as door:
            yield door
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def mail_room(rig: Rig, server: SmtpServer, tmp_path: Path, ledger: Door) -> Iterator[Callable[[], leash.Leashed]]:
    started: list[leash.Leashed] = []

    def start() -> leash.Leashed:
        values = SHORT | {
            "data_dir": tmp_path,
            "amqp_url": rig.amqp_url,
            "ledger_url": ledger.url,
            "smtp_url": f"smtp://127.0.0.1:{server.port}?tls=none",
            "room": "north",
            "workers": 2,
            "drain_seconds": DRAIN,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
        names = {f"POSTHASTE_{name.upper()}": str(value) for name, value in values.items()}
        started.append(leash.start([sys.executable, "-m", "email_service"], env=clean | names))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


async def up(tmp_path: Path) -> None:
    async def ready() -> bool:
        return (tmp_path / "ready" / "mailroom").exists()

    await eventually(ready, "the mail room is ready")


async def ends(process: leash.Leashed) -> int:
    process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(process.wait, LIMIT)


@pytest.mark.parametrize("how", ["freeze", "close"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_it_ends_though_its_ledger_is_away(
    rig: Rig, server: SmtpServer, tmp_path: Path, mail_room, ledger: Door, how: str, busy: bool
) -> None:
    process = mail_room()
    await up(tmp_path)
    commands = [command(f"p{number}@example.com") for number in range(6)] if busy else []
    go = asyncio.Event()
    server.answer("rcpt", Answer("250 2.1.5 Ok", until=go), always=True)
    await rig.send(*commands)

    async def talking() -> bool:
        return len(server.lines("RCPT")) == len(commands)

    await eventually(talking, "all are under way")
    getattr(ledger, how)()
    go.set()
    assert await ends(process) == 0
    # whatever had no outcome in the ledger lies in its lane again
    await rig.until_depth(topology.lane_queue(commands[0].lane), len(commands)) if commands else None
    assert rig.outcomes == []


@pytest.mark.parametrize("how", ["freeze", "close"])
async def test_it_ends_though_a_worker_was_killed_while_the_ledger_was_away(
    rig: Rig, tmp_path: Path, mail_room, ledger: Door, how: str
) -> None:
    """Then it is the supervisor that waits, to say that the dead one's deliveries are free."""
    process = mail_room()
    await up(tmp_path)
    getattr(ledger, how)()
    workers = children_of(supervisor_of(process))
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert await ends(process) == 0


async def test_it_ends_though_its_ledger_never_answered(rig: Rig, mail_room, ledger: Door, tmp_path: Path) -> None:
    ledger.freeze()
    process = mail_room()

    async def locked() -> bool:  # it has begun, and handles signals
        return (tmp_path / "mailroom-north.lock").exists()

    await eventually(locked, "it has begun")
    assert await ends(process) in (0, 1)  # 1: the connection was given up first


def children_of(pid: int) -> list[int]:
    return [int(child) for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()]


def supervisor_of(process: leash.Leashed) -> int:
    """The command that the leash's wrapper started."""
    wrapper = b"leash_wrapper" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return children_of(process.pid)[0] if wrapper else process.pid
