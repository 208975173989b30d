"""A reply that was read decides, whatever happens after it; and a connection's own trouble is never a message's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from email_service.transports.smtp import SmtpTransport
from tests.support.smtp_client import LARGE, QUICK, send
from tests.support.smtp_server import CLOSE, GARBAGE, RESET, SILENCE, Answer, SmtpServer
from tests.support.waiting import eventually

NO = "550 5.1.1 No such user"
LATER = "451 4.3.0 Trouble"
ENDS = [CLOSE, RESET, SILENCE, GARBAGE, Answer(raw=b"250 2.1.0 O", close=True)]
BREAKS: list[Any] = [CLOSE, RESET, SILENCE, GARBAGE, Answer("500 5.5.1 What", close=True)]


@pytest.fixture(params=[False, True], ids=["in turn", "pipelined"])
def pipelining(request: pytest.FixtureRequest, server: SmtpServer) -> bool:
    if request.param:
        server.extensions += ("PIPELINING",)
    return bool(request.param)


def cut(text: str) -> Answer:
    """A reply of several lines that breaks off after its first."""
    return Answer(raw=f"{text[:3]}-{text[4:]}\r\n{text[:2]}".encode(), close=True)


@pytest.fixture(params=["new", "kept"])
async def transport(
    request: pytest.FixtureRequest, pipelining: bool, server: SmtpServer, transport_to: Callable[..., SmtpTransport]
) -> SmtpTransport:
    """With a kept connection, or none yet."""
    made = transport_to(server, **QUICK)
    if request.param == "kept":
        await send(made)
    return made


CUT_OFF = [
    ("mail", ("553 5.1.8 Sender refused",), "failed"),
    ("mail", ("552 5.3.4 Too big",), "failed"),
    ("rcpt", (NO,), "failed"),
    ("rcpt", ("450 4.2.1 Greylisted",), "deferred"),
    ("data", ("554 5.7.1 No",), "failed"),
    ("data", (LATER,), "deferred"),
]


@pytest.mark.parametrize("how", ["fin", "rst", "cut off", "cut off in its line", "silent within"])
@pytest.mark.parametrize(("phase", "words", "kind"), CUT_OFF)
async def test_a_refusal_is_heard_though_the_server_ends_with_it(
    server: SmtpServer, transport: SmtpTransport, phase: str, words: tuple[str], kind: str, how: str
) -> None:
    (text,) = words
    server.answer(
        phase,
        {
            "fin": Answer(text, close=True),
            "rst": Answer(text, abort=True),
            "cut off": cut(text),
            "cut off in its line": Answer(raw=text.encode(), close=True),
            "silent within": Answer(raw=f"{text[:3]}-{text[4:]}\r\n".encode(), silent=True),
        }[how],
        always=True,
    )
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.phase, verdict.code) == (kind, phase, int(text[:3]))
    server.behave()
    assert (await send(transport)).verdict.kind == "accepted"


@pytest.mark.parametrize("end", ENDS, ids=["close", "reset", "silence", "garbage", "half a reply"])
@pytest.mark.parametrize(
    ("refused", "text", "ended", "kind"),
    [
        ("mail", "553 5.1.8 Sender refused", "rcpt", "failed"),
        ("mail", "552 5.3.4 Too big", "data", "failed"),
        ("rcpt", NO, "data", "failed"),
        ("rcpt", "452 4.2.2 Full", "data", "deferred"),
    ],
)
@pytest.mark.parametrize("pipelining", [True], indirect=True, ids=["pipelined"])
async def test_a_refusal_is_heard_though_later_answers_of_its_group_never_come(
    server: SmtpServer,
    transport: SmtpTransport,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    text: str,
    ended: str,
    end: Answer,
    kind: str,
) -> None:
    monkeypatch.setattr("email_service.transports.session.REST_SECONDS", 0.3)
    server.checks_recipients = False
    server.answer(refused, text, always=True)
    server.answer(ended, end, always=True)
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.phase, verdict.code) == (kind, refused, int(text[:3]))
    assert verdict.reply == text[4:]
    server.behave()
    server.checks_recipients = True
    assert (await send(transport)).verdict.kind == "accepted"


async def test_a_server_that_says_goodbye_between_two_commands_is_heard(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport]
) -> None:
    """Nothing can be written any more, and yet there is something to be read."""
    server.answer("mail", Answer(raw=b"250 2.1.0 Ok\r\n421 4.3.2 Shutting down\r\n", close=True), always=True)
    verdict = (await send(transport_to(server, **QUICK))).verdict
    assert (verdict.kind, verdict.phase, verdict.code, verdict.slow_down) == ("deferred", "rcpt", 421, True)


@pytest.mark.parametrize("phase", ["greeting", "ehlo"])
@pytest.mark.parametrize("how", [{"close": True}, {"abort": True}])
async def test_turned_away_at_the_door(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], phase: str, how: dict[str, Any]
) -> None:
    server.answer(phase, Answer("554 5.7.1 Go away", **how), always=True)
    verdict = (await send(transport_to(server, **QUICK))).verdict
    assert (verdict.kind, verdict.phase, verdict.code, verdict.unreachable) == ("deferred", phase, 554, True)


# ---- the connection's own trouble --------------------------------------------------------------------------


WORN = [
    "421 4.3.2 Service shutting down",
    "421 4.7.0 Too many messages in this session",
    "451 4.7.1 Try again later",
    "452 4.5.3 Limit of mails reached",
    "450 4.7.1 You have sent 20 messages over this connection",
    "500 5.5.1 What",
    "502 5.5.1 Not now",
    "503 5.5.1 Bad sequence of commands",
    "550 5.7.0 Too many messages in this session",
    "554 5.5.0 Session limit exceeded",
    "554 Transaction failed",
    "530 5.7.0 Authentication required",
    CLOSE,
    RESET,
    SILENCE,
    GARBAGE,
    Answer("421 4.3.2 Bye", close=True),
    Answer("421 4.3.2 Bye", abort=True),
]


@pytest.mark.parametrize("answer", WORN, ids=lambda each: str(each)[:60])
async def test_a_worn_connection_is_changed_without_a_word(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool, answer: str | Answer
) -> None:
    transport = transport_to(server, **QUICK)
    await send(transport)
    server.answer("mail", answer)
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.slow_down, verdict.pause) == ("accepted", False, None)
    assert [mail.connection for mail in server.mails] == [1, 2]


@pytest.mark.parametrize(
    "answer",
    ["500 5.5.1 What", "502 5.5.1 No", "503 5.5.1 No", "421 4.3.2 Bye", "451 4.3.0 No", "354 Go on", *BREAKS],
    ids=lambda each: str(each)[:60],
)
async def test_a_refused_reset_harms_nobody(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool, answer: str | Answer
) -> None:
    transport = transport_to(server, **QUICK, reset_seconds=0.5)
    server.answer("rcpt", NO)
    assert (await send(transport)).verdict.kind == "failed"
    server.answer("rset", answer)
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.slow_down, verdict.suppress) == ("accepted", False, False)
    assert [mail.connection for mail in server.mails] == [2]


@pytest.mark.parametrize("phase", ["rcpt", "data"])
@pytest.mark.parametrize("answer", ["421 4.3.2 Restarting", CLOSE, "503 5.5.1 MAIL first"], ids=["421", "close", "503"])
async def test_a_kept_connection_that_ends_before_the_content(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool, phase: str, answer: str | Answer
) -> None:
    transport = transport_to(server, **QUICK)
    await send(transport)
    server.answer(phase, answer)
    assert (await send(transport)).verdict.kind == "accepted"
    assert [mail.connection for mail in server.mails] == [1, 2]


@pytest.mark.parametrize("text", ["421 4.7.0 Too many messages", LATER, "503 5.5.1 Bad sequence"])
async def test_what_a_new_connection_says_too_is_meant(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool, text: str
) -> None:
    transport = transport_to(server, **QUICK)
    await send(transport)
    server.answer("mail", text, always=True)
    verdict = (await send(transport)).verdict
    assert (verdict.code, verdict.slow_down) == (int(text[:3]), text.startswith("421"))
    assert len(server.conversations) == 2  # and not one more


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        ("rcpt", NO),
        ("rcpt", "450 4.2.1 Greylisted"),
        ("rcpt", "554 5.7.1 No"),
        ("mail", "553 5.1.8 Sender refused"),
        ("mail", "550 5.7.1 Sender not allowed"),
        ("mail", "552 5.3.4 Too big"),
        ("data", "554 5.7.1 No"),
        ("dot", "554 5.7.1 Spam"),
        ("dot", "451 4.3.0 Later"),
        ("dot", "421 4.3.2 Going down"),
    ],
)
async def test_what_is_said_about_the_message_on_a_kept_connection_is_meant(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool, phase: str, text: str
) -> None:
    transport = transport_to(server, **QUICK)
    await send(transport)
    server.answer(phase, text)
    verdict = (await send(transport)).verdict
    assert (verdict.phase, verdict.code) == (phase, int(text[:3]))
    assert len(server.conversations) == 1


async def test_what_we_refuse_ourselves_needs_no_other_connection(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool
) -> None:
    server.extensions = tuple("SIZE 1000" if each.startswith("SIZE") else each for each in server.extensions)
    transport = transport_to(server)
    await send(transport)
    verdict = (await send(transport, LARGE)).verdict
    assert (verdict.kind, verdict.phase, verdict.code) == ("failed", "mail", None)
    assert len(server.conversations) == 1
    assert (await send(transport)).verdict.kind == "accepted"
    assert len(server.conversations) == 1


async def test_once_content_has_left_no_other_connection_is_asked(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], pipelining: bool
) -> None:
    transport = transport_to(server, **QUICK)
    await send(transport)
    server.answer("content", Answer("421 4.3.2 Going down", after=100_000, close=True))
    verdict = (await send(transport, LARGE)).verdict
    assert (verdict.kind, verdict.code) == ("deferred", 421)
    assert len(server.conversations) == 1


async def test_a_goodbye_to_an_unused_connection_costs_nobody_anything(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport]
) -> None:
    transport = transport_to(server)
    server.answer("dot", Answer(raw=b"250 2.0.0 Ok\r\n421 4.4.2 Idle for too long\r\n", close=True, store=True))
    await send(transport)

    async def heard() -> bool:
        return not transport._idle[0].usable if transport._idle else True

    await eventually(heard, "it has said goodbye")
    conversation = await send(transport)
    assert (conversation.verdict.kind, conversation.verdict.slow_down) == ("accepted", False)
    assert len(server.conversations) == 2


async def test_silence_of_one_kept_connection_ends_the_others_too(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport]
) -> None:
    """A firewall that forgot them all would cost each of the next messages its whole patience."""
    transport = transport_to(server, **QUICK)
    await asyncio.gather(*(send(transport) for _ in range(3)))
    assert len(server.conversations) == 3
    server.answer("mail", SILENCE)
    await send(transport)
    await asyncio.gather(*(send(transport) for _ in range(2)))
    assert server.mails[-1].connection > 3
    assert server.mails[-2].connection > 3
