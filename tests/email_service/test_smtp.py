"""The table of the design, each row in a real conversation with a server that misbehaves on demand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from email_service.transports.lines import Lines
from email_service.transports.session import LeaseLost
from email_service.transports.smtp import SmtpTransport
from shared.contracts import OutcomeKind
from tests.support.mailroom import settings
from tests.support.smtp_client import LETTER, QUICK, certified, send
from tests.support.smtp_server import (
    CLOSE,
    ENDLESS,
    GARBAGE,
    RESET,
    SILENCE,
    TAKEN_THEN_CLOSE,
    TAKEN_THEN_RESET,
    TAKEN_THEN_SILENCE,
    Answer,
    SmtpServer,
)
from tests.support.waiting import eventually


async def test_an_accepted_letter(server: SmtpServer, transport_to) -> None:
    claims: list[str] = []
    conversation = await send(transport_to(server), claims=claims)
    verdict = conversation.verdict
    assert (verdict.kind, verdict.phase, verdict.code, verdict.enhanced) == ("accepted", "dot", 250, "2.0.0")
    assert verdict.queue_id == server.mails[0].id
    assert server.mails[0].content == b"Subject: Hi\r\n\r\n.dot\r\nbye\r\n"
    assert claims == ["ida@example.com"]
    assert conversation.server == f"localhost:{server.port}"
    said = [(line.who, line.text) for line in conversation.talk.lines]
    assert ("us", "EHLO room.example") in said
    assert ("them", "250-8BITMIME") in said
    assert ("us", "RCPT TO:<ida@example.com>") in said
    assert ("us", f"(the letter, {len(LETTER.content)} bytes)") in said
    assert not any("bye" in text for _, text in said)
    assert [line.ms for line in conversation.talk.lines] == sorted(line.ms for line in conversation.talk.lines)


DEFERRED, FAILED, UNKNOWN = OutcomeKind.deferred, OutcomeKind.failed, OutcomeKind.unknown


@pytest.mark.parametrize(
    ("phase", "answer", "kind", "taken"),
    [
        ("greeting", "554 5.7.1 Go away", DEFERRED, 0),
        ("greeting", "421 4.3.2 Busy", DEFERRED, 0),
        ("greeting", SILENCE, DEFERRED, 0),
        ("greeting", CLOSE, DEFERRED, 0),
        ("greeting", GARBAGE, DEFERRED, 0),
        ("greeting", ENDLESS, DEFERRED, 0),
        ("ehlo", "421 4.3.2 Busy", DEFERRED, 0),
        ("ehlo", SILENCE, DEFERRED, 0),
        ("ehlo", CLOSE, DEFERRED, 0),
        ("mail", "421 4.3.2 Busy", DEFERRED, 0),
        ("mail", "451 4.3.0 Trouble", DEFERRED, 0),
        ("mail", "530 5.7.0 Authentication required", DEFERRED, 0),
        ("mail", "552 5.3.4 Too big", FAILED, 0),
        ("mail", "553 5.1.8 Sender refused", FAILED, 0),
        ("mail", SILENCE, DEFERRED, 0),
        ("mail", CLOSE, DEFERRED, 0),
        ("mail", GARBAGE, DEFERRED, 0),
        ("rcpt", "421 4.3.2 Busy", DEFERRED, 0),
        ("rcpt", "450 4.2.1 Greylisted", DEFERRED, 0),
        ("rcpt", "452 4.2.2 Full", DEFERRED, 0),
        ("rcpt", "550 5.1.1 No such user", FAILED, 0),
        ("rcpt", "551 Not local", FAILED, 0),
        ("rcpt", "552 5.2.2 Full", DEFERRED, 0),
        ("rcpt", "553 Bad", FAILED, 0),
        ("rcpt", "554 5.7.1 No", FAILED, 0),
        ("rcpt", SILENCE, DEFERRED, 0),
        ("rcpt", CLOSE, DEFERRED, 0),
        ("rcpt", RESET, DEFERRED, 0),
        ("rcpt", ENDLESS, DEFERRED, 0),
        ("data", "421 4.3.2 Busy", DEFERRED, 0),
        ("data", "451 4.3.0 Trouble", DEFERRED, 0),
        ("data", "554 5.5.1 No", FAILED, 0),
        ("data", "250 What", DEFERRED, 0),
        ("data", SILENCE, DEFERRED, 0),
        ("data", CLOSE, DEFERRED, 0),
        ("dot", "421 4.3.2 Busy", DEFERRED, 0),
        ("dot", "451 4.3.0 Trouble", DEFERRED, 0),
        ("dot", "552 5.3.4 Too big", FAILED, 0),
        ("dot", "554 5.7.1 Spam", FAILED, 0),
        ("dot", SILENCE, UNKNOWN, 0),
        ("dot", CLOSE, UNKNOWN, 0),
        ("dot", RESET, UNKNOWN, 0),
        ("dot", GARBAGE, UNKNOWN, 0),
        ("dot", TAKEN_THEN_SILENCE, UNKNOWN, 1),
        ("dot", TAKEN_THEN_CLOSE, UNKNOWN, 1),
        ("dot", TAKEN_THEN_RESET, UNKNOWN, 1),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("pipelining", [False, True], ids=["in turn", "pipelined"])
async def test_each_row_of_the_table(
    server: SmtpServer,
    transport_to,
    phase: str,
    answer: str | Answer,
    kind: OutcomeKind,
    taken: int,
    pipelining: bool,
) -> None:
    if pipelining:
        server.extensions += ("PIPELINING",)
    server.answer(phase, answer)
    claims: list[str] = []
    transport = transport_to(server, **QUICK)
    conversation = await send(transport, claims=claims)
    verdict = conversation.verdict
    assert (verdict.kind, verdict.phase) == (kind, phase)
    assert verdict.reason.endswith(".")
    assert len(server.mails) == taken
    # written down before DATA, and not sooner
    assert len(claims) == (phase in (("mail", "rcpt", "data", "dot") if pipelining else ("data", "dot")))
    assert verdict.slow_down == (isinstance(answer, str) and answer.startswith("421"))
    if isinstance(answer, str):
        assert (verdict.code, verdict.reply) == (int(answer[:3]), answer[4:])
    # the next letter is not harmed by it, on the same connection or a new one
    server.behave()
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert server.mails[-1].content == LETTER.content.replace(b"\r\n..", b"\r\n.")


@pytest.mark.parametrize(("pipelining", "round_trips"), [(True, 2), (False, 4)], ids=["pipelined", "in turn"])
async def test_round_trips_a_letter(
    server: SmtpServer, transport_to, monkeypatch: pytest.MonkeyPatch, pipelining: bool, round_trips: int
) -> None:
    """A guard of speed: each costs the network's latency, and two wake-ups of each side."""
    if pipelining:
        server.extensions += ("PIPELINING",)
    transport = transport_to(server)
    await send(transport)
    writes: list[bytes] = []
    write = Lines.write
    monkeypatch.setattr(Lines, "write", lambda self, data: (writes.append(data), write(self, data))[1])
    await send(transport)
    assert len(writes) == round_trips
    assert b"".join(writes).split(b"\r\n", 3)[:3] == [
        b"MAIL FROM:<crm@posthaste.example> SIZE=%d" % len(LETTER.content),
        b"RCPT TO:<ida@example.com>",
        b"DATA",
    ]
    assert len(server.mails) == 2
    assert len(server.conversations) == 1


async def test_a_server_that_wants_a_letter_for_nobody_gets_none(server: SmtpServer, transport_to) -> None:
    """RFC 2920, section 3.1: DATA has left before the refusal of RCPT came, and this server answers 354."""
    server.extensions += ("PIPELINING",)
    server.checks_recipients = False
    server.answer("rcpt", "550 5.1.1 No such user")
    transport = transport_to(server)
    conversation = await send(transport)
    assert (conversation.verdict.kind, conversation.verdict.phase) == (FAILED, "rcpt")
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert len(server.mails) == 1
    assert len(server.conversations) == 2  # the first connection was cut


async def test_what_a_server_says_unasked_is_no_answer(server: SmtpServer, transport_to) -> None:
    """A kept connection that was told "421 timeout" meanwhile is not used again."""
    server.answer("dot", Answer(raw=b"250 2.0.0 Ok: queued as 1\r\n250 2.0.0 twice\r\n", store=True))
    transport = transport_to(server)
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert len(server.conversations) == 2


async def test_a_refused_recipient_keeps_the_connection_and_resets_the_transaction(
    server: SmtpServer, transport_to
) -> None:
    transport = transport_to(server)
    server.answer("rcpt", "550 5.1.1 No such user")
    assert (await send(transport)).verdict.suppress
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert len(server.conversations) == 1
    assert server.lines("RSET") == ["RSET"]


async def test_nobody_listens(transport_to, server: SmtpServer) -> None:
    transport = transport_to(server)
    await server.stop()
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.phase, verdict.unreachable) == ("deferred", "connect", True)


async def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    transport = SmtpTransport(settings(tmp_path, smtp_url=SecretStr("smtp://no-such-host.invalid:25?tls=none")))
    verdict = (await send(transport)).verdict
    assert (verdict.kind, verdict.phase, verdict.unreachable) == ("deferred", "connect", True)


async def test_connections_are_kept_and_renewed_after_so_many_mails(server: SmtpServer, transport_to) -> None:
    transport = transport_to(server, connection_mails=3)
    for _ in range(7):
        await send(transport)
    assert [mail.connection for mail in server.mails] == [1, 1, 1, 2, 2, 2, 3]


async def test_connections_are_renewed_after_a_time(server: SmtpServer, transport_to) -> None:
    transport = transport_to(server, connection_seconds=0.000001)
    for _ in range(2):
        await send(transport)
    assert [mail.connection for mail in server.mails] == [1, 2]


async def test_a_kept_connection_that_the_server_closed_costs_nobody_an_attempt(
    server: SmtpServer, transport_to
) -> None:
    transport = transport_to(server)
    await send(transport)
    server.answer("mail", CLOSE)  # it hangs up in the moment when we begin again
    conversation = await send(transport)
    assert conversation.verdict.kind is OutcomeKind.accepted
    assert [mail.connection for mail in server.mails] == [1, 2]


async def test_a_claim_that_is_refused_sends_nothing_and_spoils_nothing(server: SmtpServer, transport_to) -> None:
    class NotMine(Exception):
        pass

    async def claim() -> None:
        raise NotMine

    transport = transport_to(server)
    with pytest.raises(NotMine):
        await transport.send(LETTER, claim, lambda: True)
    assert server.lines("DATA") == []
    assert (await send(transport)).verdict.kind is OutcomeKind.accepted
    assert len(server.mails) == 1


@pytest.mark.parametrize("answers", [[False], [True, False]])
async def test_one_who_slept_too_long_sends_nothing_more(server: SmtpServer, transport_to, answers: list[bool]) -> None:
    async def claim() -> None: ...

    left = list(answers)
    with pytest.raises(LeaseLost):
        await transport_to(server).send(LETTER, claim, lambda: left.pop(0))
    assert server.mails == []


async def test_a_big_letter_cut_off_midway_is_deferred_not_unknown(server: SmtpServer, transport_to) -> None:
    """Most of it was still with us, so its end cannot have arrived."""
    server.answer("data", Answer("354 Go", close=True))
    big = replace(LETTER, content=LETTER.content + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 500_000)
    verdict = (await send(transport_to(server), big)).verdict
    assert (verdict.kind, verdict.phase) == ("deferred", "data")


async def test_a_big_letter_arrives_whole(server: SmtpServer, transport_to) -> None:
    big = replace(LETTER, content=b"Subject: x\r\n\r\n" + (b"z" * 70 + b"\r\n") * 20_000)
    assert (await send(transport_to(server), big)).verdict.kind is OutcomeKind.accepted
    assert server.mails[0].content == big.content


async def test_a_letter_over_the_servers_limit_is_not_even_offered(transport_to) -> None:
    async with SmtpServer(extensions=("SIZE 20",)) as server:
        verdict = (await send(transport_to(server))).verdict
        assert (verdict.kind, verdict.phase) == ("failed", "mail")
        assert "too big" in verdict.reason
        assert server.lines("MAIL") == []


async def test_an_address_that_needs_smtputf8(server: SmtpServer, transport_to) -> None:
    letter = replace(LETTER, recipient="jørgen@example.com", needs_utf8=True)
    assert (await send(transport_to(server), letter)).verdict.kind is OutcomeKind.accepted
    assert server.mails[0].recipient == "jørgen@example.com"
    assert "SMTPUTF8" in server.lines("MAIL")[0]
    async with SmtpServer(extensions=("8BITMIME",)) as old:
        verdict = (await send(transport_to(old), letter)).verdict
        assert verdict.kind is OutcomeKind.failed
        assert "SMTPUTF8" in verdict.reason
        assert old.lines("MAIL") == []


async def test_a_server_that_knows_only_helo(server: SmtpServer, transport_to) -> None:
    server.answer("ehlo", "502 5.5.1 What is EHLO")
    assert (await send(transport_to(server))).verdict.kind is OutcomeKind.accepted
    assert server.lines("HELO") == ["HELO room.example"]


# ---- encryption and sign-in --------------------------------------------------------------------------------


@pytest.mark.parametrize("implicit", [False, True])
async def test_encrypted_and_signed_in(authority, ca_file: Path, transport_to, implicit: bool) -> None:
    users = {"me": "s3cret phrase"}
    async with SmtpServer(context=certified(authority), implicit_tls=implicit, users=users) as server:
        transport = transport_to(
            server, f"tls={'implicit' if implicit else 'starttls'}", "me:s3cret%20phrase@", smtp_ca_file=ca_file
        )
        conversation = await send(transport)
        assert conversation.verdict.kind is OutcomeKind.accepted
        assert (server.mails[0].tls, server.mails[0].user) == (True, "me")
        assert conversation.tls is not None
        assert conversation.tls.startswith("TLSv1.")
        text = str([line.text for line in conversation.talk.lines])
        assert "AUTH PLAIN ****" in text
        assert "s3cret" not in text
        assert "AG1l" not in text  # base64 of it
        await transport.close()


async def test_stripped_starttls_gets_no_mail_at_all(ca_file: Path, transport_to) -> None:
    async with SmtpServer(users={"me": "pw"}) as server:  # no context: STARTTLS is not offered
        verdict = (await send(transport_to(server, "tls=starttls", "me:pw@", smtp_ca_file=ca_file))).verdict
        assert (verdict.kind, verdict.phase, verdict.pause) == ("deferred", "tls", "tls")
        assert server.lines("MAIL") == server.lines("AUTH") == []


async def test_without_saying_so_starttls_is_demanded(server: SmtpServer, transport_to) -> None:
    verdict = (await send(transport_to(server, ""))).verdict
    assert (verdict.kind, verdict.phase) == ("deferred", "tls")
    assert server.lines("MAIL") == []


@pytest.mark.parametrize(
    ("what", "implicit"),
    [
        *((what, False) for what in ("wrong name", "unknown authority", "refused", "closed")),
        *((what, True) for what in ("wrong name", "unknown authority")),
    ],
)
async def test_encryption_that_fails_is_never_gone_without(
    authority, ca_file: Path, transport_to, what: str, implicit: bool
) -> None:
    context = certified(trustme.CA() if what == "unknown authority" else authority, "localhost")
    if what == "wrong name":
        context = certified(authority, "elsewhere.example")
    async with SmtpServer(context=context, implicit_tls=implicit) as server:
        if what == "refused":
            server.answer("starttls", "454 4.7.0 Not now")
        elif what == "closed":
            server.answer("starttls", CLOSE)
        transport = transport_to(server, f"tls={'implicit' if implicit else 'starttls'}", smtp_ca_file=ca_file)
        verdict = (await send(transport)).verdict
        assert (verdict.kind, verdict.phase, verdict.pause) == ("deferred", "tls", "tls")
        assert server.lines("MAIL") == []


async def test_a_refused_sign_in_rests_the_route(authority, ca_file: Path, transport_to) -> None:
    async with SmtpServer(context=certified(authority), users={"me": "right"}) as server:
        transport = transport_to(server, "tls=starttls", "me:wrong@", smtp_ca_file=ca_file)
        conversation = await send(transport)
        verdict = conversation.verdict
        assert (verdict.kind, verdict.phase, verdict.pause, verdict.code) == ("deferred", "auth", "auth", 535)
        assert server.lines("MAIL") == []
        assert (await transport.probe()).pause == "auth"


async def test_a_probe_that_succeeds_leaves_its_connection_for_the_next_letter(
    server: SmtpServer, transport_to
) -> None:
    transport = transport_to(server)
    assert await transport.probe() is None
    await send(transport)
    assert len(server.conversations) == 1


async def test_unused_connections_are_closed(server: SmtpServer, transport_to, monkeypatch) -> None:
    monkeypatch.setattr("email_service.transports.smtp.SWEEP_SECONDS", 0.01)
    transport = transport_to(server, idle_seconds=0.001)
    await send(transport)

    async def said_goodbye() -> list[str]:
        return server.lines("QUIT")

    await eventually(said_goodbye, "the unused connection is closed")
