"""How the mail room names itself, and servers that are particular about it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from email_service import helo
from email_service.helo import complaint, is_full_name, is_literal, is_name, literal, own_name
from tests.support.mailroom import Rig, command, settings, starting
from tests.support.smtp_server import SmtpServer
from tests.support.waiting import eventually


@pytest.mark.parametrize("name", ["mail.example.com", "a.b", "xn--mller-kva.example", "n-1.example.co.uk", "1.example"])
def test_full_names(name: str) -> None:
    assert is_full_name(name)
    assert is_name(name)
    assert complaint(name) is None


@pytest.mark.parametrize("name", ["north", "localhost", "localhost.localdomain", "printer.local", "[192.0.2.1]"])
def test_names_that_may_be_refused(name: str) -> None:
    assert not is_full_name(name)
    told = complaint(name)
    assert told is not None
    assert name in told[0]
    assert "POSTHASTE_HELO_NAME" in told[1]


@pytest.mark.parametrize("name", ["[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::1]"])
def test_literals(name: str) -> None:
    assert is_literal(name)
    assert is_name(name)


WRONG = [
    "my host", "a..b", ".a", "a.", "-a.b", "a-.b", "under_score.example", "192.0.2.1", "[192.0.2]", "[2001:db8::1]",
    "[IPv6:192.0.2.1]", "[]", "mail.example.com\x7f", "müller.example", f"{'a' * 64}.example", "a." * 127 + "ab",
]  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_name_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    assert not is_name(name)
    with pytest.raises(ValidationError, match="helo_name"):
        settings(tmp_path, helo_name=name)


def test_the_address_as_a_literal() -> None:
    assert literal("192.0.2.1") == "[192.0.2.1]"
    assert literal("::ffff:192.0.2.1") == "[192.0.2.1]"
    assert literal("fe80::1%eth0") == "[IPv6:fe80::1]"


def test_a_bare_host_name_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    own_name.cache_clear()
    assert own_name("north.example.com", "127.0.0.1", 25) == "north.example.com"
    monkeypatch.setattr(helo, "_canonical", lambda _: "north.example.org")
    assert own_name("north", "127.0.0.1", 25) == "north.example.org"
    for found in ("", "north", "localhost.localdomain"):
        own_name.cache_clear()
        monkeypatch.setattr(helo, "_canonical", lambda _, found=found: found)
        assert own_name("north", "127.0.0.1", 25) == "[127.0.0.1]"
    own_name.cache_clear()


def test_a_dns_that_does_not_answer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    own_name.cache_clear()
    monkeypatch.setattr(helo, "LOOK_UP_SECONDS", 0)
    assert is_literal(own_name("north", "mail.invalid", 25))
    own_name.cache_clear()


@pytest.fixture
async def work(rig: Rig, server: SmtpServer, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    async with starting(rig, server.port, tmp_path, probe_seconds=0.2, connections=1) as start:
        yield start


@pytest.mark.parametrize(
    "reply",
    [
        "504 5.5.2 <north>: Helo command rejected: need fully-qualified hostname",
        "550 5.7.1 Access denied - Invalid HELO name",
        "501 5.5.4 Syntax error in EHLO argument",
        "554 5.7.1 Go away",
    ],
)
async def test_a_refused_name_rests_the_route_and_fails_nobody(rig: Rig, server: SmtpServer, work, reply: str) -> None:
    worker = await work()
    server.answer("ehlo", reply, always=True)
    commands = [command(f"p{number}@d{number}.example") for number in range(5)]
    await rig.send(*commands)

    async def rests() -> bool:
        return bool(worker._alarms.all)

    await eventually(rests, "there is an alarm")
    (alarm,) = worker._alarms.all
    assert "HELO" in alarm.sentence
    assert "POSTHASTE_HELO_NAME" in alarm.advice
    assert reply.split(" ", 1)[1] in alarm.advice
    assert {outcome.kind for outcome in rig.outcomes} <= {"deferred"}
    assert {line.split(" ")[0] for line in server.lines()} <= {"EHLO", "QUIT"}  # HELO is no way out
    server.behave()
    for cmd in commands:

        async def arrived(cmd=cmd) -> bool:
            return rig.kinds(cmd)[-1:] == ["accepted"]

        await eventually(arrived, "it arrives after all")
    assert len(server.mails) == 5


async def test_a_server_from_before_1995_gets_helo(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("ehlo", "502 5.5.1 Command not implemented")
    cmd = command()
    await rig.send(cmd)
    await rig.until(cmd, "accepted")
    assert [line.split(" ")[0] for line in server.lines()][:2] == ["EHLO", "HELO"]


async def test_who_may_mend_it_hears_of_a_name_that_may_be_refused(
    rig: Rig, server: SmtpServer, work, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await work(helo_name="north", smtp_url=SecretStr("smtp://192.0.2.1:25?tls=none"))
    (alarm,) = worker._heartbeat().alarms
    assert (alarm.kind, alarm.sentence) == ("helo", "The mail room has no full host name and calls itself north.")
    assert [record for record in caplog.records if record.levelno == logging.WARNING and "full host" in record.message]


async def test_on_this_machine_alone_any_name_will_do(rig: Rig, server: SmtpServer, work) -> None:
    worker = await work(helo_name="")
    cmd = command()
    await rig.send(cmd)
    await rig.until(cmd, "accepted")
    (line,) = server.lines("EHLO")
    name = line.removeprefix("EHLO ")
    assert is_full_name(name) or name == "[127.0.0.1]"
    assert worker._alarms.all == ()
