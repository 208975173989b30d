"""A route that refuses us rests, tells, and goes on: a real broker, a real ledger, a server with a mind of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared import topology
from shared.contracts import SendCommand
from shared.lanes import Lane
from tests.support.mailroom import Rig, command, starting
from tests.support.smtp_server import Answer, SmtpServer
from tests.support.waiting import eventually

PIPELINING = ("8BITMIME", "SIZE 52428800", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES")


@pytest.fixture
async def work(rig: Rig, server: SmtpServer, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts a worker against rig and server; stopped at the end."""
    async with starting(rig, server.port, tmp_path, probe_seconds=0.2, connections=4) as start:
        yield start


def to_many(count: int, domains: int = 5, **changes: Any) -> list[SendCommand]:
    return [command(f"p{number}@d{number % domains}.example", **changes) for number in range(count)]


async def until(condition: Callable[[], bool], what: str) -> None:
    async def reached() -> bool:
        return condition()

    await eventually(reached, what)


async def all_accepted_once(rig: Rig, server: SmtpServer, commands: list[SendCommand], dead: int = 0) -> None:
    await until(lambda: all(rig.kinds(cmd)[-1:] == ["accepted"] for cmd in commands), "all arrive after all")
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)
    await rig.until_empty()
    assert await rig.depth(topology.DEAD_QUEUE) == dead


REFUSED = [
    pytest.param("rcpt", "554 5.7.1 <x@y.example>: Relay access denied", "does not pass mail on", id="relay"),
    pytest.param("rcpt", "454 4.7.1 <x@y.example>: Relay access denied", "does not pass mail on", id="relay, 4xx"),
    pytest.param("mail", "530 5.7.0 Authentication required", "refuses our sign-in", id="sign-in at MAIL"),
    pytest.param("rcpt", "504 5.5.2 <north>: Helo command rejected", "HELO", id="HELO at RCPT"),
    pytest.param("rcpt", "554 5.7.1 <z[192.0.2.1]>: Client host rejected: Access denied", "our machine", id="client"),
    pytest.param("data", "550 5.4.5 Daily user sending limit exceeded", "its limit", id="quota at DATA"),
    pytest.param("dot", "554 5.7.1 Relaying denied", "does not pass mail on", id="relay after the dot"),
    pytest.param("rcpt", "550 no such user", "in the same words", id="words of its own"),
]


@pytest.mark.parametrize("pipelining", [False, True], ids=["in turn", "pipelined"])
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize(("phase", "reply", "sentence"), REFUSED)
async def test_a_relay_that_refuses_everybody_fails_nobody(
    rig: Rig, server: SmtpServer, work, phase: str, reply: str, sentence: str, pipelining: bool, kept: bool
) -> None:
    server.extensions = PIPELINING if pipelining else server.extensions
    worker = await work(connections=1)
    before = [command(f"before{number}@x.example") for number in range(2)] if kept else []
    await rig.send(*before)
    await until(lambda: len(server.mails) == len(before), "it takes mail, and a connection is kept")
    server.answer(phase, reply, always=True)
    commands = to_many(30)
    await rig.send(*commands)
    await until(lambda: worker._watch.state.startswith("paused: "), "the route rests")
    (alarm,) = [each for each in worker._alarms.all if each.kind == "route"]
    assert sentence in alarm.sentence
    assert alarm.sentence in worker._watch.state
    assert reply.split(" ", 2)[-1] in alarm.advice
    failed = [outcome for outcome in rig.outcomes if outcome.kind == "failed"]
    assert len(failed) <= (2 if reply == "550 no such user" else 0)
    server.behave()
    gone = {outcome.delivery for outcome in failed}
    await all_accepted_once(rig, server, before + [cmd for cmd in commands if cmd.delivery not in gone], len(gone))
    await until(lambda: worker._watch.state == "open", "the route is open again")
    assert worker._alarms.all == ()


async def test_after_a_rest_one_message_goes_first(
    rig: Rig, server: SmtpServer, work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "route")
    await work(connections=8)
    server.answer("rcpt", "554 5.7.1 Relay access denied", always=True)
    commands = to_many(120, lane=Lane.bulk)
    await rig.send(*commands)

    def trials() -> int:
        return sum(record.message == "one message is tried" for record in caplog.records)

    await until(lambda: trials() >= 1, "it is tried")
    tried, heard = trials(), len(server.lines("RCPT"))
    await until(lambda: trials() >= tried + 3, "it was tried three times more")
    assert len(server.lines("RCPT")) - heard <= trials() - tried + 1
    assert {outcome.kind for outcome in rig.outcomes} == {"deferred"}
    server.behave()
    await all_accepted_once(rig, server, commands)


async def test_its_pauses_grow_and_start_anew_when_it_takes_something(rig: Rig, server: SmtpServer, work) -> None:
    worker = await work(connections=1, probe_seconds=0.01)
    server.answer("rcpt", "554 5.7.1 Relay access denied", always=True)
    await rig.send(*to_many(10))
    await until(lambda: worker._watch._rests >= 4, "it rested four times")
    server.behave()
    await until(lambda: worker._watch.state == "open", "the route is open again")
    assert worker._watch._rests == 0


async def test_one_domain_that_refuses_everybody_stops_no_other(rig: Rig, server: SmtpServer, work) -> None:
    worker = await work(connections=4)
    server.answer("rcpt", *["550 5.7.1 You are not welcome here"] * 8)
    refused = [command(f"r{number}@one.example", lane=Lane.bulk) for number in range(8)]
    await rig.send(*refused)
    await until(lambda: len(rig.outcomes) >= 8, "one domain refuses everybody")
    assert worker._watch.state == "open"
    good = command("ida@two.example", lane=Lane.urgent)
    await rig.send(good)
    await rig.until(good, "accepted")


async def test_mailboxes_that_are_gone_among_others_fail_at_once(rig: Rig, server: SmtpServer, work) -> None:
    worker = await work(connections=1)
    for name in ("g1", "g2", "g3"):
        server.answer("rcpt", "550 5.1.1 User unknown", recipient=f"{name}@{name}.example", always=True)
    gone = [command(f"g{number}@g{number}.example") for number in (1, 2, 3)]
    good = to_many(5)
    await rig.send(*gone, *good)
    for cmd in gone:
        (outcome,) = await rig.until(cmd, "failed")
        assert outcome.suppress
    await until(lambda: len(server.mails) == 5, "the others arrive")
    assert (worker._watch.state, worker._alarms.all) == ("open", ())


async def test_a_password_that_is_refused_is_an_alarm_until_it_is_taken(
    rig: Rig, server: SmtpServer, work, caplog: pytest.LogCaptureFixture
) -> None:
    server._users = {"ida": "other"}
    url = SecretStr(f"smtp://ida:s3cret-pass@127.0.0.1:{server.port}?tls=none")
    worker = await work(smtp_url=url)
    server.answer("auth", Answer("535 5.7.8 s3cret-pass is wrong"), always=True)
    commands = to_many(6)
    await rig.send(*commands)
    await until(lambda: bool(worker._alarms.all), "there is an alarm")
    (alarm,) = worker._alarms.all
    assert (alarm.kind, alarm.sentence) == ("route", "The mail server refuses our sign-in.")
    assert "POSTHASTE_SMTP_URL" in alarm.advice
    assert "s3cret-pass" not in alarm.advice
    assert [record for record in caplog.records if record.levelno == logging.ERROR and "sign-in" in record.message]
    beat = worker._heartbeat()
    assert (beat.alarms, beat.route_state) == ((alarm,), "paused: The mail server refuses our sign-in.")
    server.behave()
    server._users = {"ida": "s3cret-pass"}
    await all_accepted_once(rig, server, commands)
    assert worker._alarms.all == ()
    assert worker._heartbeat().route_state == "open"
