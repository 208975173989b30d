"""Signing in: every mechanism that the server offers, one try a mechanism, nothing secret in the transcript."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from email_service.transports.smtp import SmtpTransport
from tests.support.smtp_client import QUICK, certified, send
from tests.support.smtp_server import CLOSE, RESET, Answer, SmtpServer

USERS = {"me": "s3cret phrase"}
ME = "me:s3cret%20phrase@"
ALL = "AUTH CRAM-MD5 LOGIN PLAIN"
To = Callable[..., SmtpTransport]


@pytest.mark.parametrize(
    "offer",
    [
        "AUTH PLAIN",
        "AUTH LOGIN",
        "AUTH CRAM-MD5",
        "AUTH=LOGIN",
        "AUTH=PLAIN LOGIN",
        "auth XOAUTH2 login GSSAPI",
        "AUTH SCRAM-SHA-256 NTLM CRAM-MD5",
    ],
)
@pytest.mark.parametrize("takes_initial_response", [True, False])
async def test_each_mechanism_by_itself(transport_to: To, offer: str, takes_initial_response: bool) -> None:
    async with SmtpServer(users=USERS, auth=offer) as server:
        server.takes_initial_response = takes_initial_response
        conversation = await send(transport_to(server, user=ME))
        assert conversation.verdict.kind == "accepted"
        assert server.mails[0].user == "me"
        assert {(user, password) for _, user, password in server.passwords} == {("me", "s3cret phrase")}
        assert len(server.passwords) == 1
        said = " ".join(line.text for line in conversation.talk.lines)
        for secret in ("s3cret phrase", "\0me\0s3cret phrase"):
            assert secret not in said
            assert base64.b64encode(secret.encode()).decode() not in said


async def test_login_never_puts_anything_into_its_first_line(transport_to: To) -> None:
    """A server that skips it would take the password for the name, and write it into its log."""
    async with SmtpServer(users=USERS, auth="AUTH LOGIN") as server:
        await send(transport_to(server, user=ME))
        assert server.lines("AUTH") == ["AUTH LOGIN"]


async def test_plain_goes_in_two_steps_where_the_server_cannot_read_it_in_one(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth="AUTH PLAIN") as server:
        server.answer("auth plain", "501 5.5.4 Syntax: AUTH mechanism")
        assert (await send(transport_to(server, user=ME))).verdict.kind == "accepted"
        assert server.lines("AUTH")[1:] == ["AUTH PLAIN"]
        assert len(server.passwords) == 1


REFUSALS = [
    "504 5.5.4 Unrecognized authentication type",
    "534 5.7.9 Authentication mechanism is too weak",
    "535 5.7.8 Authentication credentials invalid",
    "538 5.7.11 Encryption required for requested authentication mechanism",
    "432 4.7.12 A password transition is needed",
    "502 5.5.1 Not implemented",
    "500 5.5.2 Error: bad syntax",
]
ENDS = [{}, {"close": True}, {"abort": True}]


@pytest.mark.parametrize("end", ENDS, ids=str)
@pytest.mark.parametrize("text", REFUSALS, ids=lambda text: text[:3])
async def test_after_a_refusal_the_next_mechanism_is_tried(transport_to: To, text: str, end: dict[str, bool]) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", Answer(text, **end), always=True)
        server.answer("auth plain", *[Answer(text, **end)] * 2)
        transport = transport_to(server, user=ME)
        conversation = await send(transport)
        assert (conversation.verdict.kind, server.mails[0].user) == ("accepted", "me")
        # and the next connection begins with what was taken
        heard = len(server.lines("AUTH"))
        assert await transport.probe() is None
        assert len(server.lines("AUTH")) == heard + 1


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
async def test_a_server_that_hangs_up_on_a_mechanism(transport_to: To, end: Answer) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", end, always=True)
        assert (await send(transport_to(server, user=ME))).verdict.kind == "accepted"
        assert len(server.conversations) == 2


@pytest.mark.parametrize("second", ["421 4.7.0 Too many errors", "503 5.5.1 Only one AUTH", CLOSE], ids=str)
async def test_a_connection_that_takes_one_try_only(transport_to: To, second: str | Answer) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", "535 5.7.8 No", always=True)
        server.answer("auth plain", second)
        assert (await send(transport_to(server, user=ME))).verdict.kind == "accepted"
        assert len(server.conversations) == 2
        assert [mechanism for mechanism, _, _ in server.passwords] == ["plain"]


@pytest.mark.parametrize("end", ENDS, ids=str)
async def test_a_wrong_password_is_tried_once_a_mechanism(transport_to: To, end: dict[str, bool]) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth", Answer("535 5.7.8 Authentication credentials invalid", **end), always=True)
        transport = transport_to(server, user="me:wrong@")
        verdict = (await send(transport)).verdict
        assert (verdict.kind, verdict.phase, verdict.pause, verdict.code) == ("deferred", "auth", "auth", 535)
        assert sorted(mechanism for mechanism, _, _ in server.passwords) == ["cram-md5", "login", "plain"]
        assert server.lines("MAIL") == []
        probed = await transport.probe()
        assert probed is not None
        assert probed.pause == "auth"
        assert len(server.passwords) == 6


async def test_several_connections_at_once_try_a_wrong_password_once(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        transport = transport_to(server, user="me:wrong@")
        conversations = await asyncio.gather(*(send(transport) for _ in range(6)))
        assert {each.verdict.code for each in conversations} == {535}
        assert len(server.passwords) == 3
        await send(transport)  # one that comes later asks for itself
        assert len(server.passwords) == 6


async def test_several_connections_at_once_are_all_let_in(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", "535 5.7.8 No", always=True)
        transport = transport_to(server, user=ME)
        conversations = await asyncio.gather(*(send(transport) for _ in range(6)))
        assert {each.verdict.kind for each in conversations} == {"accepted"}
        assert len(server.lines("AUTH CRAM-MD5")) == 1
        assert len(server.passwords) == 6


async def test_that_the_password_is_wrong_is_told_rather_than_that_a_mechanism_is_missing(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth login", "504 5.5.4 Unrecognized", always=True)
        assert (await send(transport_to(server, user="me:wrong@"))).verdict.code == 535


async def test_a_server_that_refuses_us_and_is_gone_then_has_refused_us(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", Answer("535 5.7.8 No", close=True))
        server.answer("greeting", "220 hello", "421 4.3.2 Busy", always=False)
        verdict = (await send(transport_to(server, user=ME, **QUICK))).verdict
        assert (verdict.phase, verdict.pause, verdict.code) == ("auth", "auth", 535)


async def test_trouble_for_a_while_is_no_reason_for_another_mechanism(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", "454 4.7.0 Temporary authentication failure")
        verdict = (await send(transport_to(server, user=ME))).verdict
        assert (verdict.kind, verdict.pause, verdict.code) == ("deferred", "auth", 454)
        assert len(server.lines("AUTH")) == 1


@pytest.mark.parametrize("offer", ["AUTH XOAUTH2 NTLM", "AUTH"])
async def test_nothing_is_offered_that_we_know(transport_to: To, offer: str) -> None:
    async with SmtpServer(users=USERS, auth=offer) as server:
        verdict = (await send(transport_to(server, user=ME))).verdict
        assert (verdict.kind, verdict.phase, verdict.pause) == ("deferred", "auth", "auth")
        assert server.lines("AUTH") == []


async def test_a_challenge_that_is_none_is_called_off(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth=ALL) as server:
        server.answer("auth cram-md5", "334 !not base64!")
        assert (await send(transport_to(server, user=ME))).verdict.kind == "accepted"
        assert server.lines("*") == ["*"]


async def test_a_server_that_repeats_our_password_does_not_get_it_into_the_transcript(transport_to: To) -> None:
    async with SmtpServer(users=USERS, auth="AUTH PLAIN LOGIN") as server:
        blob = base64.b64encode(b"\0me\0wrong one").decode()
        server.answer("auth", f"535 5.7.8 'wrong one' ({blob}) is wrong", always=True)
        conversation = await send(transport_to(server, user="me:wrong%20one@"))
        told = [*(line.text for line in conversation.talk.lines), conversation.verdict.reply or ""]
        assert not any("wrong one" in each or blob in each for each in told)


async def test_within_tls_plain_goes_first(transport_to: To, authority: trustme.CA, ca_file: Path) -> None:
    async with SmtpServer(context=certified(authority), users=USERS, auth=ALL) as server:
        transport = transport_to(server, "tls=starttls", ME, smtp_ca_file=ca_file)
        assert (await send(transport)).verdict.kind == "accepted"
        assert [mechanism for mechanism, _, _ in server.passwords] == ["plain"]
