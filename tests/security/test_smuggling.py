"""Whatever somebody writes comes out as exactly one mail with exactly the headers that we wrote, byte by byte."""

from __future__ import annotations

import email
import email.policy
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from email_service.compose import CannotCompose, Composer, Letter
from email_service.transports.smtp import SmtpTransport
from shared.contracts import Attachment, Mailbox, OutcomeKind, SendCommand
from shared.files import FileStore
from tests.support.byte_server import ENDS, ByteServer
from tests.support.mailroom import command, settings

NEWLINES = ("\r\n", "\n", "\r")
SECOND = (
    "{0}.{1}MAIL FROM:<eve@evil.example>{1}RCPT TO:<victim@example.com>{1}DATA{1}Subject: smuggled{1}{1}Pay.{0}.{1}"
)
SMUGGLED = [SECOND.format(before, after) for before, after in itertools.product(NEWLINES, repeat=2)] + [
    ".\r\n",
    ".",
    "\0\r\n.\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "x\r\n.\r",
    "\r\r\n.\r\r\n",
    "\n\r.\n\r",
    "\x0b.\x0c\r\n.\x85",
    "\u2028.\u2028MAIL FROM:<eve@evil.example>\u2029",
    "\r\n..\r\n...\r\n",
    "=\r\n.\r\n=0A.=0A",
    "x" * 997 + "\n.\n" + "é" * 600 + "\r\n.\r\n",
    "Subject: another\r\nBcc: eve@evil.example\r\n\r\n",
]
HEADERS = ["Date", "Message-ID", "From", "Reply-To", "To", "Subject", "MIME-Version", "Content-Type"]


async def spoken(tmp_path: Path, letter: Letter, pipelining: bool) -> ByteServer:
    """One letter to a server that takes anything for the end of one."""
    async with ByteServer(pipelining) as server:
        transport = SmtpTransport(settings(tmp_path, server.port))
        transport.start()

        async def claim() -> None: ...

        conversation = await transport.send(letter, claim, lambda: True)
        assert conversation.verdict.kind is OutcomeKind.accepted, conversation.verdict
        await transport.close()
        return server


def is_one_mail_as_written(server: ByteServer, also: tuple[str, ...] = ()) -> email.message.Message:
    assert len(server.mails) == 1
    verbs = [line.split(b" ")[0].split(b":")[0] for line in server.commands]
    assert [verb for verb in verbs if verb not in (b"EHLO", b"QUIT")] == [b"MAIL", b"RCPT", b"DATA"]
    assert b"eve@" not in b"".join(server.commands)
    assert b"victim@" not in b"".join(server.commands)
    (content,) = server.mails
    assert b"\0" not in content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content), "a bare CR or LF"
    assert server.heard.count(b"\r\n.\r\n") == 1
    assert len(ENDS.findall(server.heard)) == 1
    head = content.partition(b"\r\n\r\n")[0]
    names = re.findall(rb"(?m)^([^\s:]+):", head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" "))
    assert [name.decode() for name in names if name != b"Content-Transfer-Encoding"] == HEADERS + list(also)
    return email.message_from_bytes(content.replace(b"\r\n..", b"\r\n."), policy=email.policy.default)


def letter_of(**changes: Any) -> SendCommand:
    return command(**({"reply_to": "Olaf <olaf@example.com>"} | changes))


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("bad", SMUGGLED)
@pytest.mark.parametrize("where", ["text", "html", "field", "attachment"])
async def test_no_second_mail_in_a_body(tmp_path: Path, bad: str, where: str, pipelining: bool) -> None:
    files = FileStore(tmp_path / "files")
    changes: dict[str, Any] = {
        "text": {"text": f"Hello{bad}"},
        "html": {"html": f"<p>Hello{bad}</p>"},
        "field": {"text": "{{ x }}", "html": "<p>{{ x }}</p>", "fields": {"x": bad}},
        "attachment": {"attachments": (Attachment(files.put(bad.encode()), "a.txt", "text/plain", len(bad)),)},
    }[where]
    letter = await Composer(files).compose(letter_of(**changes))
    is_one_mail_as_written(await spoken(tmp_path, letter, pipelining))


@pytest.mark.parametrize(
    "bad", [*SMUGGLED, "\r\nBcc: eve@evil.example", "x\n\nbody", "x\ry", "\x7f", "\x1b[2J", "> SIZE=1"]
)
@pytest.mark.parametrize(
    "where", ["subject", "field", "to", "to name", "sender", "sender name", "reply_to", "id", "file"]
)
async def test_no_header_and_no_command_of_anybody_elses(tmp_path: Path, bad: str, where: str) -> None:
    """Refused, or written so that it is only words."""
    files = FileStore(tmp_path / "files")
    changes: dict[str, Any] = {
        "subject": {"subject": f"Hi{bad}"},
        "field": {"subject": "Hi {{ x }}", "fields": {"x": bad}},
        "to": {"to": Mailbox(f"ida{bad}@example.com")},
        "to name": {"to": Mailbox("ida@example.com", f"Ida{bad}")},
        "sender": {"sender": Mailbox(f"crm{bad}@example.com")},
        "sender name": {"sender": Mailbox("crm@example.com", f"CRM{bad}")},
        "reply_to": {"reply_to": f"Olaf{bad} <olaf@example.com>"},
        "id": {"message_id": f"<x{bad}@example.com>"},
        "file": {"attachments": (Attachment(files.put(b"x"), f"a{bad}.txt", "text/plain", 1),)},
    }[where]
    try:
        letter = await Composer(files).compose(letter_of(**changes))
    except CannotCompose:
        return
    assert not re.search("[\r\n\0]", bad), "a line break was let through"
    is_one_mail_as_written(await spoken(tmp_path, letter, pipelining=True))


PIECES = some.sampled_from(["\r", "\n", "\r\n", ".", "..", "\0", "x", "é", " ", "=", "DATA", "a" * 500])


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=some.lists(PIECES, max_size=12), html=some.booleans())
async def test_whatever_the_pieces_are(tmp_path: Path, pieces: list[str], html: bool) -> None:
    words = "".join(pieces)
    cmd = letter_of(text=words or "x", html=words if html else None)
    content = (await Composer(FileStore(tmp_path)).compose(cmd)).content
    wire = content + b".\r\n"
    assert len(ENDS.findall(wire)) == 1
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", wire)
    assert max(map(len, wire.split(b"\r\n"))) <= 999


async def test_the_careless_server_would_have_noticed(tmp_path: Path) -> None:
    """A letter that is written carelessly is two mails there: the tests above can fail."""
    for before, after in itertools.product(NEWLINES, repeat=2):
        body = "Subject: x\r\n\r\nHello" + SECOND.format(before, after)
        letter = Letter("crm@example.com", "ida@example.com", body.encode() + b"\r\n")
        async with ByteServer() as server:
            transport = SmtpTransport(settings(tmp_path, server.port))

            async def claim() -> None: ...

            await transport.send(letter, claim, lambda: True)
            await transport.close()
        assert len(server.mails) > 1
