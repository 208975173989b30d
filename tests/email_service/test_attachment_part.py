"""Files as parts of a mail: their bytes and their names, as the parsers of other people read them."""

from __future__ import annotations

import email
import email.policy
import re
import unicodedata
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from email_service.attachment_part import ascii_name, attachment_part, quoted_printable
from email_service.mime import multipart


def mail_with(part: bytes) -> bytes:
    return b"Subject: x\r\nMIME-Version: 1.0\r\n" + multipart("mixed", b"=_b", [b"\r\nHello\r\n", part])


def read(content: bytes, policy: email.policy.Policy = email.policy.SMTP) -> email.message.Message:
    message = email.message_from_bytes(content, policy=policy)
    attached = message.get_payload(1)
    assert isinstance(attached, email.message.Message)
    assert not attached.defects
    return attached


TEXTS = [
    b"one\ntwo\n",
    b"one\r\ntwo\r\n",
    b"one\rtwo",
    b"no end",
    b"blank at the end \t\nand here ",
    b".\n..\n.\r\n",
    b"From me\nFrom you\n",
    b"x" * 5000 + b"\n" + b"y = z\n" * 40,
    b"--=_b\n--=_b--\n",
    b"\n\n\n",
]


@pytest.mark.parametrize("content", TEXTS)
@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "text/calendar"])
def test_ascii_text_is_not_hidden_in_base64_and_arrives_byte_by_byte(content: bytes, kind: str) -> None:
    part = read(mail_with(attachment_part("notes.txt", kind, content)))
    assert part["Content-Transfer-Encoding"] == "quoted-printable"
    assert part.get_content_type() == kind
    assert part.get_payload(decode=True) == content


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("Schöne Grüße".encode(), "text/plain"),
        (b"a\0b", "text/plain"),
        (b"\x1b[31mred", "text/plain"),
        (b"plain", "application/pdf"),
        (b"Subject: x\n\nplain", "message/rfc822"),
        (bytes(range(256)), "text/html"),
    ],
)
def test_anything_else_goes_in_base64(content: bytes, kind: str) -> None:
    part = read(mail_with(attachment_part("notes", kind, content)))
    assert part["Content-Transfer-Encoding"] == "base64"
    assert part.get_payload(decode=True) == content


def handled(content: bytes) -> bytes:
    """As servers and mailboxes on disk leave it: line ends of their own, no blanks at line ends, no line "From "."""
    content = content.replace(b"\r\n", b"\n")
    content = re.sub(rb"(?m)[ \t]+$", b"", content)
    return re.sub(rb"(?m)^From ", b">From ", content)


PIECES = [b"\n", b"\r\n", b"\r", b" ", b"\t", b".", b"From ", b"=", b"=3D", b"--=_b", b"a" * 75, b"word "]


@given(some.lists(some.sampled_from(PIECES), min_size=1, max_size=60).map(b"".join))
@example(b"a" * 74 + b"From x")
@example(b"a" * 76 + b"\nFrom x")
def test_no_server_on_the_way_changes_a_byte(content: bytes) -> None:
    encoded = quoted_printable(content)
    assert re.fullmatch(rb"(?:[\t\x20-\x7e]{0,76}\r\n)*[\t\x20-\x7e]{0,76}", encoded)
    wire = mail_with(attachment_part("notes.txt", "text/plain", content))
    assert read(wire).get_payload(decode=True) == content
    assert read(handled(wire)).get_payload(decode=True) == content


NAMES = {
    "plan.pdf": "plan.pdf",
    "Angebot März.pdf": "Angebot Marz.pdf",
    "Angebot Ma\u0308rz.pdf": "Angebot Marz.pdf",
    "Großes Œuvre.pdf": "Grosses OEuvre.pdf",
    "見積書.pdf": "file.pdf",
    "見積書 2026.pdf": "_ 2026.pdf",
    "🌱": "file",
    "a’b “c”.txt": "a_b _c_.txt",
    'with "quotes" and \\.txt': 'with "quotes" and \\.txt',
    "50% off; a=b.txt": "50% off; a=b.txt",
    "é" * 200: "e" * 200,
    "🌱" * 196 + ".txt": "file.txt",
    "Ångström " * 20: "Angstrom " * 19 + "Angstrom",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_by_new_programs_and_old_ones(name: str) -> None:
    wire = attachment_part(name, "application/pdf", b"x")
    assert wire.isascii()
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    part = read(mail_with(wire))
    assert isinstance(part, EmailMessage)
    assert part.get_filename() == unicodedata.normalize("NFC", name).strip()
    # who knows nothing of RFC 2231 looks for these two
    head = wire.partition(b"\r\n\r\n")[0].decode().replace("\r\n", "")
    disposition, kind = (head.partition(f"{header}:")[2] for header in ("Content-Disposition", "Content-Type"))
    for found in (
        re.search(r'; filename="((?:[^"\\]|\\.)*)"', disposition),
        re.search(r'; name="((?:[^"\\]|\\.)*)"', kind),
    ):
        assert found is not None
        assert re.sub(r"\\(.)", r"\1", found[1]) == NAMES[name]
    assert ("filename*0*=UTF-8''" in head) == (not name.isascii())


@given(some.text(some.characters(codec="utf-8"), min_size=1, max_size=200))
def test_an_ascii_name_is_always_one(name: str) -> None:
    assert re.fullmatch(r"[\x20-\x7e]+", ascii_name(name)) or name.isascii()
