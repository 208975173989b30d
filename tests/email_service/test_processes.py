"""The mail room as processes: readiness, orderly ends, and ends that are not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import leash
from shared import topology
from shared.amqp import Consumer, Delivery
from shared.contracts import Heartbeat, decode
from shared.lanes import Lane
from tests.support.mailroom import SHORT, Rig, command
from tests.support.smtp_server import SILENCE, Answer, SmtpServer
from tests.support.waiting import eventually


@pytest.fixture
async def beats(rig: Rig) -> AsyncIterator[dict[int, Heartbeat]]:
    """The last heartbeat of each worker, by its number."""
    heard: dict[int, Heartbeat] = {}

    async def hear(delivery: Delivery) -> None:
        beat = decode(delivery.properties.type, delivery.body)
        assert isinstance(beat, Heartbeat)
        heard[beat.worker] = beat
        delivery.ack()

    listener = Consumer([rig.amqp_url], "test", [], 10, hear, control_key=topology.HEARTBEAT_KEY)
    await listener.start()
    await asyncio.wait_for(listener.wait_connected(), 30)
    yield heard
    await listener.close()


@pytest.fixture
def mail_room(rig: Rig, server: SmtpServer, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    started: list[leash.Leashed] = []

    def start(**changes: object) -> leash.Leashed:
        values = SHORT | {
            "data_dir": tmp_path,
            "amqp_url": rig.amqp_url,
            "smtp_url": f"smtp://127.0.0.1:{server.port}?tls=none",
            "room": "north",
            "workers": 1,
            "drain_seconds": 20,
        }
        names = {f"POSTHASTE_{name.upper()}": str(value) for name, value in (values | changes).items()}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
        # the shell stays when the supervisor is killed, so that it is not the leash that ends the workers
        run = f"{sys.executable} -m email_service & echo $! > {tmp_path / 'pid'}; wait $!; code=$?"
        script = f"{run}; [ $code = 137 ] && sleep 1000; exit $code"
        process = leash.start(["sh", "-c", f"trap '' TERM; {script}"], env=clean | names)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def up(tmp_path: Path) -> int:
    """Waits until the mail room is ready; the supervisor's process id."""

    async def ready() -> bool:
        return (tmp_path / "ready" / "mailroom").exists()

    await eventually(ready, "the mail room is ready")
    return int((tmp_path / "pid").read_text())


async def beat_of(beats: dict[int, Heartbeat], number: int, besides: int = 0) -> Heartbeat:
    async def heard() -> bool:
        return number in beats and beats[number].pid != besides

    await eventually(heard, f"worker {number} is heard")
    return beats[number]


async def ended(process: leash.Leashed) -> int:
    return await asyncio.to_thread(process.wait, 60)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def until_dead(pid: int) -> None:
    async def dead() -> bool:
        return not alive(pid)

    await eventually(dead, f"process {pid} has ended")


async def test_sigterm_finishes_what_is_said_and_gives_back_the_rest(
    rig: Rig, server: SmtpServer, mail_room, tmp_path: Path, beats: dict[int, Heartbeat]
) -> None:
    go = asyncio.Event()
    server.answer("dot", Answer("250 2.0.0 Ok", until=go), always=True)
    commands = [command(f"p{number}@example.com") for number in range(50)]
    process = mail_room(workers=2, connections=5)
    supervisor = await up(tmp_path)
    workers = [await beat_of(beats, number) for number in (1, 2)]
    await rig.send(*commands)

    async def busy() -> bool:
        return len(server.lines("DATA")) == 8  # four each: one place is kept for urgent

    await eventually(busy, "all places are taken")
    os.kill(supervisor, signal.SIGTERM)

    async def stopping() -> bool:
        return await rig.depth(topology.lane_queue(Lane.normal)) == 42

    await eventually(stopping, "the rest is given back")
    go.set()
    assert await ended(process) == 0
    assert not any(alive(worker.pid) for worker in workers)
    assert not (tmp_path / "ready" / "mailroom").exists()
    assert len(server.mails) == 8

    async def reported() -> bool:
        return [str(each.kind) for each in rig.outcomes] == ["accepted"] * 8

    await eventually(reported, "what was said is reported")
    server.behave()
    mail_room()  # and the next mail room sends the rest
    for cmd in commands:
        await rig.until(cmd, "accepted")
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)


async def test_a_worker_killed_between_data_and_reply_leaves_unknown_and_sends_nothing_twice(
    rig: Rig, server: SmtpServer, mail_room, tmp_path: Path, beats: dict[int, Heartbeat]
) -> None:
    server.answer("dot", Answer(store=True))  # taken, but the answer never comes
    mail_room(retry_scale=1.0)
    await up(tmp_path)
    cmd = command()
    await rig.send(cmd)

    async def taken() -> bool:
        return len(server.mails) == 1

    await eventually(taken, "the letter is with the server")
    worker = await beat_of(beats, 1)
    os.kill(worker.pid, signal.SIGKILL)
    (outcome,) = await rig.until(cmd, "unknown")
    assert (outcome.phase, outcome.attempt) == ("ledger", 1)
    assert outcome.next_at is not None
    await rig.until_depth(topology.wait_exchange("10m"), 1)
    assert len(server.lines("DATA")) == 1
    assert (await beat_of(beats, 1, besides=worker.pid)).pid != worker.pid


async def test_a_worker_that_stands_still_is_killed_and_replaced(
    rig: Rig, server: SmtpServer, mail_room, tmp_path: Path, beats: dict[int, Heartbeat]
) -> None:
    process = mail_room(frozen_seconds=2)
    await up(tmp_path)
    frozen = (await beat_of(beats, 1)).pid
    os.kill(frozen, signal.SIGSTOP)
    await until_dead(frozen)
    await beat_of(beats, 1, besides=frozen)
    cmd = command()
    await rig.send(cmd)
    await rig.until(cmd, "accepted")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert await ended(process) == 0


async def test_a_worker_killed_before_data_costs_nothing(
    rig: Rig, server: SmtpServer, mail_room, tmp_path: Path, beats: dict[int, Heartbeat]
) -> None:
    server.answer("rcpt", SILENCE)
    mail_room()
    await up(tmp_path)
    cmd = command()
    await rig.send(cmd)

    async def waiting() -> bool:
        return len(server.lines("RCPT")) == 1

    await eventually(waiting, "the worker waits for the server")
    os.kill((await beat_of(beats, 1)).pid, signal.SIGKILL)
    await rig.until(cmd, "accepted")
    assert len(server.mails) == 1


async def test_a_killed_supervisor_takes_its_workers_along_and_the_next_one_goes_on(
    rig: Rig, server: SmtpServer, mail_room, tmp_path: Path, beats: dict[int, Heartbeat]
) -> None:
    mail_room(workers=2)
    supervisor = await up(tmp_path)
    workers = [await beat_of(beats, number) for number in (1, 2)]
    commands = [command(f"p{number}@example.com", lane=Lane.bulk) for number in range(200)]
    await rig.send(*commands)
    await rig.until(commands[0], "accepted")
    os.kill(supervisor, signal.SIGKILL)
    (tmp_path / "ready" / "mailroom").unlink()  # a kill -9 leaves it behind
    mail_room(workers=2)  # at once: it waits until the others are gone
    await up(tmp_path)
    assert not any(alive(worker.pid) for worker in workers)
    for cmd in commands:

        async def arrived(cmd=cmd) -> bool:
            return "accepted" in rig.kinds(cmd)

        await eventually(arrived, "it is reported")
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)
    assert {str(each.kind) for each in rig.outcomes} == {"accepted"}


async def test_a_second_mail_room_of_the_same_name_waits_for_the_first(mail_room, tmp_path: Path) -> None:
    first = mail_room()
    supervisor = await up(tmp_path)
    second = mail_room()

    async def started() -> bool:
        return (tmp_path / "pid").read_text().strip() not in ("", str(supervisor))

    await eventually(started, "the second runs")
    assert second.poll() is None
    os.kill(supervisor, signal.SIGTERM)
    assert await ended(first) == 0
    waiting = await up(tmp_path)
    os.kill(waiting, signal.SIGTERM)
    assert await ended(second) == 0


async def test_a_wrong_setting_is_said_in_one_sentence(mail_room) -> None:
    process = mail_room(smtp_url="ftp://nowhere")
    assert await ended(process) == 2
