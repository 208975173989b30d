"""A server that allows few connections: those that stand go on, and nobody takes it for away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from email_service.outcome import of_reply
from email_service.refusals import Judged
from email_service.throttle import Throttle
from email_service.transports.places import Places, is_crowded
from email_service.worker import Worker
from shared.lanes import Lane
from tests.support.mailroom import Rig, command, settings, starting
from tests.support.smtp_server import Answer, SmtpServer
from tests.support.waiting import eventually

EXIM = "421 Too many concurrent SMTP connections; please try again later."
POSTFIX = "421 4.7.0 mx.example Error: too many connections from 127.0.0.1"
ALLOWED = 3


class FewConnections(SmtpServer):
    """Turns away whoever comes while ALLOWED are there; how: the reply, or None for a closed connection."""

    how: str | None = EXIM
    turned_away = 0

    def _scripted(self, phase: str, session: Any) -> Answer | None:
        if phase == "greeting" and self.open > ALLOWED:
            self.turned_away += 1
            return Answer(self.how, close=True)
        return super()._scripted(phase, session)


@pytest.fixture
async def server() -> AsyncIterator[FewConnections]:
    async with FewConnections() as server:
        yield server


@pytest.fixture
async def work(rig: Rig, server: SmtpServer, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    async with starting(rig, server.port, tmp_path) as start:
        yield start


async def all_accepted_at_once(rig: Rig, server: SmtpServer, commands: list[Any]) -> None:
    async def arrived() -> bool:
        return len(rig.outcomes) >= len(commands)

    await eventually(arrived, "all are sent", seconds=90)
    assert {outcome.kind for outcome in rig.outcomes} == {"accepted"}  # not one was put off
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)


@pytest.mark.parametrize("how", [EXIM, POSTFIX, "421 4.3.2 busy", "554 5.7.1 no more", None], ids=str)
async def test_one_worker_goes_on_with_what_it_has(rig: Rig, server: FewConnections, work, how: str | None) -> None:
    server.how = how
    worker = await work(connections=10)
    commands = [command(f"p{number}@d{number % 7}.example", lane=Lane.bulk) for number in range(150)]
    await rig.send(*commands)
    await all_accepted_at_once(rig, server, commands)
    assert worker._watch.state == "open"
    assert worker._alarms.all == ()
    assert 1 <= worker._throttle.limit <= ALLOWED
    assert server.turned_away <= 10  # each place asked for once, and not again and again


async def test_two_workers_share_what_there_is(rig: Rig, server: FewConnections, work) -> None:
    first = await work(1, connections=10)
    before = [command(f"b{number}@example.com", lane=Lane.bulk) for number in range(40)]
    await rig.send(*before)
    await all_accepted_at_once(rig, server, before)  # it keeps what places there are, unused
    second = await work(2, connections=10)
    commands = [command(f"p{number}@d{number % 7}.example") for number in range(60)]
    await rig.send(*commands)
    await all_accepted_at_once(rig, server, before + commands)
    assert first._alarms.all == ()
    assert second._watch.state == "open"  # perhaps without a place, but nothing is wrong


async def test_who_holds_places_lets_go_of_them_for_another(rig: Rig, server: FewConnections, work) -> None:
    """The first one is alive and idle; nobody but the second consumes."""
    first = await work(1, connections=3, idle_seconds=1000)
    go = asyncio.Event()
    server.answer("dot", *[Answer("250 2.0.0 Ok", until=go)] * 3)
    before = [command(f"b{number}@example.com", lane=Lane.urgent) for number in range(3)]
    await rig.send(*before)

    async def full() -> bool:
        return server.open == ALLOWED

    await eventually(full, "it has all places")
    go.set()
    await all_accepted_at_once(rig, server, before)
    assert len(first._transport._idle) == ALLOWED
    await first.intake.consumer.stop_consuming()
    await work(2, connections=3, probe_seconds=6)
    commands = [command(f"p{number}@example.org") for number in range(20)]
    await rig.send(*commands)

    async def arrived() -> bool:
        return len(server.mails) == len(before) + len(commands)

    await eventually(arrived, "the second one gets places", seconds=120)


async def test_a_probe_is_the_next_messages_connection(rig: Rig, server: FewConnections, work) -> None:
    worker = await work(connections=1, probe_seconds=0.5)
    server.answer("ehlo", "504 5.5.2 Helo command rejected", always=True)
    await rig.send(cmd := command())

    async def rests() -> bool:
        return worker._watch.state != "open" and worker._watch._rests >= 2

    await eventually(rests, "the route rests and is probed")
    server.behave()
    await rig.until(cmd, "deferred", "accepted")
    assert len([said for said in server.conversations if any("MAIL FROM" in line for line in said)]) == 1
    # the last probe is the one that carried it
    assert any("MAIL FROM" in line for line in server.conversations[-1])


def test_what_it_says_of_too_many() -> None:
    for reply in (
        EXIM,
        POSTFIX,
        "421 4.3.2 Connection limit exceeded",
        "554 5.7.0 Too many sessions",
        "421 no more connections",
    ):
        assert is_crowded(of_reply("greeting", int(reply[:3]), reply[4:])), reply
    assert not is_crowded(of_reply("greeting", 421, "4.3.2 Service shutting down"))
    assert not is_crowded(of_reply("rcpt", 421, "Too many concurrent connections"))


def test_more_is_tried_later_and_each_time_in_vain_later_still() -> None:
    now = 0.0
    throttle = Throttle(10, clock=lambda: now)
    throttle.full(3)
    waits = []
    for _ in range(6):
        began = now
        while throttle.limit == 3:
            now += 10
            throttle.went_well()
        waits.append(now - began)
        throttle.full(3)
    assert waits == [60, 120, 240, 480, 600, 600]
    throttle.full(0)
    assert throttle.limit == 1


def test_the_sign_is_for_the_others(tmp_path: Path) -> None:
    one, other = Places(tmp_path / "ready" / "sign"), Places(tmp_path / "ready" / "sign")
    assert other.idle_seconds(20) == 20
    one.found_none()
    assert other.idle_seconds(20) == one.idle_seconds(20) == 1
    assert Places(tmp_path / "ready" / "sign").idle_seconds(20) == 20  # who came later has nothing to let go of
    assert Places(Path("/proc/nowhere")).idle_seconds(20) == 20


def test_a_route_that_rests_loudly_is_not_quiet_because_its_trial_found_no_place(tmp_path: Path) -> None:
    watch = Worker(settings(tmp_path, 1), 1)._watch
    no_place = Judged(of_reply("greeting", 421, EXIM[4:]), "crowded")
    watch._begin_rest(no_place)
    assert watch.state == "open"  # others of ours have the places: nothing is wrong
    watch._open()
    watch._begin_rest(Judged(replace(of_reply("rcpt", 554, "5.7.1 Relay access denied"), pause="relay"), "relay"))
    watch._begin_rest(no_place)
    assert watch.state.startswith("paused: ")
