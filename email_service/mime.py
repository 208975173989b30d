"""Small pieces of MIME, as bytes: headers and bodies, encoded so that every server takes them (RFC 2045, 2047).

Everything is 7-bit afterwards, except addresses that need SMTPUTF8 (RFC 6532). What may stand in a header and in an
address is said in shared/, for whoever takes a message in, too: Python's own checks have holes before 3.11.15.
"""

import base64
import binascii
import re

from shared.addresses import BadAddress, ascii_domain, wire_address
from shared.header_text import BadHeader, unfolded
from shared.mailboxes import is_atoms, quoted

MAX_LINE = 998  # RFC 5322, section 2.1.1, without CRLF
FOLD_AT = 76
_PLAIN_HEADER = re.compile(r"[\x20-\x7e]*")
_PLAIN_BODY = re.compile(r"[\t\r\n\x20-\x7e]*")
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+@[\x21-\x3b\x3d\x3f-\x7e]+>")


class BadMail(ValueError):
    """The letter cannot be written; str() says why, for a person."""


def header_text(what: str, text: str) -> str:
    """The text as it can stand in a header; raises BadMail."""
    try:
        return unfolded(text)
    except BadHeader as problem:
        raise BadMail(f"{what}: {problem}") from problem


def unstructured(name: str, text: str) -> bytes:
    """A whole header line like Subject, folded and encoded; `name` is a header name in ASCII."""
    text = header_text(name, text)
    if not _PLAIN_HEADER.fullmatch(text) or "=?" in text or text != text.strip() or "  " in text:
        return f"{name}: {_encoded_words(text, FOLD_AT - len(name) - 2)}\r\n".encode()
    lines, line = [], f"{name}:"
    for word in text.split(" "):
        if len(line) + 1 + len(word) > FOLD_AT and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    if max(map(len, lines)) > MAX_LINE:
        return f"{name}: {_encoded_words(text, FOLD_AT - len(name) - 2)}\r\n".encode()
    return ("\r\n".join(lines) + "\r\n").encode()


def _encoded_words(text: str, first: int) -> str:
    """Encoded words of at most 75 characters, never cut within a character (RFC 2047, section 2)."""
    words, chunk, room = [], b"", first
    for character in text:
        added = chunk + character.encode()
        if chunk and len(base64.b64encode(added)) + 12 > min(room, 75):
            words.append(chunk)
            chunk, room = character.encode(), FOLD_AT - 1
        else:
            chunk = added
    words.append(chunk)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def mailbox(what: str, address: str, name: str = "") -> bytes:
    """`Name <address>` for From, To and Reply-To, folded where it is long."""
    wire = envelope(what, address)
    if not name:
        return wire.encode()
    name = header_text(f"The name of {what}", name)
    if not name.isascii() or "=?" in name or len(name) > 60:
        return f"{_encoded_words(name, 60)}\r\n <{wire}>".encode()
    if not is_atoms(name):
        name = quoted(name)
    space = "\r\n " if len(name) + len(wire) > 64 else " "
    return f"{name}{space}<{wire}>".encode()


def envelope(what: str, address: str) -> str:
    """The address as SMTP wants it."""
    try:
        return wire_address(address)
    except BadAddress as problem:
        raise BadMail(f"The address of {what} is no mail address.") from problem


def message_id(text: str) -> bytes:
    if not text.isascii():  # from before it was made with the domain's ASCII form
        local, at, domain = text.removesuffix(">").rpartition("@")
        text = f"{local}{at}{ascii_domain(domain)}>"
    if not _MESSAGE_ID.fullmatch(text) or len(text) > MAX_LINE - 12:
        raise BadMail("The Message-ID is not written correctly.")
    return f"Message-ID: {text}\r\n".encode()


def text_part(subtype: str, text: str) -> bytes:
    """Headers and body of a text part: as it is if that is safe, else quoted-printable or base64."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    if not text.endswith("\r\n"):
        text += "\r\n"
    body = text.encode()
    if _PLAIN_BODY.fullmatch(text) and max(map(len, body.split(b"\r\n"))) <= MAX_LINE:
        encoding = b"7bit"
    elif len(body) < 1.5 * len(text.encode("ascii", "ignore")):  # mostly ASCII: still readable as it is
        encoding, body = b"quoted-printable", binascii.b2a_qp(body, istext=True)
    else:
        encoding, body = b"base64", _base64_lines(body)
    return b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (
        subtype.encode(),
        encoding,
        body,
    )


def _base64_lines(body: bytes) -> bytes:
    return base64.encodebytes(body).replace(b"\n", b"\r\n")


def multipart(subtype: str, boundary: bytes, parts: list[bytes]) -> bytes:
    """parts: each with its own headers. The CRLF before a boundary is the boundary's (RFC 2046, section 5.1.1)."""
    opening = b'Content-Type: multipart/%s;\r\n boundary="%s"\r\n\r\n' % (subtype.encode(), boundary)
    middle = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    return opening + middle + b"--%s--\r\n" % boundary
