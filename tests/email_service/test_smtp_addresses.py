"""A server of several addresses: each gets its turn and its share of the time, the dead ones last for a while."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from email_service.transports import addresses
from email_service.transports.addresses import Addresses
from email_service.transports.smtp import SmtpTransport
from tests.support.smtp_client import send
from tests.support.smtp_server import CLOSE, RESET, SILENCE, Answer, SmtpServer

To = Callable[..., SmtpTransport]
DEAD, GOOD = "127.0.0.2", "127.0.0.1"
TIMES = {"connect_seconds": 1.0, "greeting_seconds": 1.0}


def names(*found: str) -> Callable[..., object]:
    """A resolver that knows one name."""

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return found

    return resolve


@contextlib.contextmanager
def swallows_syns(port: int) -> Iterator[None]:
    """An address at which nobody answers: the queue of its listening socket is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((DEAD, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((DEAD, port))
        yield


@pytest.fixture
async def bad(server: SmtpServer) -> AsyncIterator[SmtpServer]:
    """At the other address of the same name."""
    async with SmtpServer(host=DEAD, port=server.port) as bad:
        yield bad


async def test_an_address_that_swallows_syns_does_not_take_all_the_time(server: SmtpServer, transport_to: To) -> None:
    with swallows_syns(server.port):
        transport = transport_to(server, resolve=names(DEAD, GOOD), **TIMES)
        conversation = await send(transport)
        assert conversation.verdict.kind == "accepted"
        told = [line.text for line in conversation.talk.lines]
        assert any(text.startswith(f"({DEAD}: ") for text in told)
        assert any(text.endswith(f" at {GOOD})") for text in told)
        transport._forget()
        conversation = await send(transport)  # it is remembered
        assert conversation.verdict.kind == "accepted"
        assert not any(DEAD in line.text for line in conversation.talk.lines)


@pytest.mark.parametrize("answer", [SILENCE, CLOSE, RESET], ids=["silence", "close", "reset"])
async def test_an_address_that_never_greets(
    server: SmtpServer, bad: SmtpServer, transport_to: To, answer: Answer
) -> None:
    bad.answer("greeting", answer, always=True)
    transport = transport_to(server, resolve=names(DEAD, GOOD), **TIMES)
    for _ in range(2):
        assert (await send(transport)).verdict.kind == "accepted"
        transport._forget()
    assert len(bad.conversations) == 1
    assert len(server.mails) == 2


async def test_an_address_that_refuses_connections(server: SmtpServer, transport_to: To) -> None:
    transport = transport_to(server, resolve=names(DEAD, GOOD))
    assert (await send(transport)).verdict.kind == "accepted"


async def test_the_other_family_gets_its_turn(server: SmtpServer, transport_to: To) -> None:
    transport = transport_to(server, resolve=names("::1", "100::1", GOOD), **TIMES)
    assert (await send(transport)).verdict.kind == "accepted"


@pytest.mark.parametrize("text", ["421 4.3.2 Too many connections", "554 5.7.1 Not you"])
async def test_an_address_that_turns_us_away_is_not_remembered_as_dead(
    server: SmtpServer, bad: SmtpServer, transport_to: To, text: str
) -> None:
    bad.answer("greeting", text, always=True)
    transport = transport_to(server, resolve=names(DEAD, GOOD))
    for _ in range(2):
        assert (await send(transport)).verdict.kind == "accepted"
        transport._forget()
    assert len(bad.conversations) == 2


async def test_if_all_fail_the_one_that_spoke_is_quoted(server: SmtpServer, bad: SmtpServer, transport_to: To) -> None:
    bad.answer("greeting", "554 5.7.1 Not you", always=True)
    server.answer("greeting", CLOSE, always=True)
    verdict = (await send(transport_to(server, resolve=names(DEAD, GOOD)))).verdict
    assert (verdict.kind, verdict.phase, verdict.code, verdict.unreachable) == ("deferred", "greeting", 554, True)


async def test_nobody_answers_at_any_address(server: SmtpServer, transport_to: To) -> None:
    with swallows_syns(server.port):
        transport = transport_to(server, resolve=names(DEAD, "127.0.0.3"), **TIMES)
        verdict = (await send(transport)).verdict
        assert (verdict.kind, verdict.phase, verdict.unreachable) == ("deferred", "connect", True)


async def test_a_dead_address_has_its_place_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Addresses("mx.example", 25, names("192.0.2.1", "192.0.2.2", "2001:db8::1"))  # type: ignore[arg-type]
    assert await found.in_turn() == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    found.avoid("192.0.2.1")
    assert await found.in_turn() == ["2001:db8::1", "192.0.2.2", "192.0.2.1"]
    found.trust("192.0.2.1")
    assert (await found.in_turn())[0] == "192.0.2.1"
    monkeypatch.setattr(addresses, "AVOID_SECONDS", 0)
    found.avoid("192.0.2.1")
    assert (await found.in_turn())[0] == "192.0.2.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    assert await addresses.resolve(host, 25) == [host]


async def test_a_name_that_cannot_be_one(transport_to: To, server: SmtpServer) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return await addresses.resolve("x" * 70 + ".example", port)

    verdict = (await send(transport_to(server, resolve=resolve))).verdict
    assert (verdict.kind, verdict.phase, verdict.unreachable) == ("deferred", "connect", True)
