"""A stored mail, read: what its header says, its text and HTML, its files. Never raises, whatever came in."""

import email
import email.message
import email.policy
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime

from crm_api.sandbox.store import StoredMail

# headers of the old kind are plain text: the new kind raises on some that are malformed
_POLICY = email.policy.compat32
MAX_HEADERS = 200


@dataclass(frozen=True, slots=True)
class MailFile:
    filename: str
    content_type: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class ReadMail:
    """text, html: None if there is no such part; always None when only the header was read."""

    stored: StoredMail
    headers: list[tuple[str, str]]
    text: str | None = None
    html: str | None = None
    files: tuple[MailFile, ...] = ()

    def header(self, name: str) -> str:
        """The first of that name, decoded; empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def subject(self) -> str:
        return self.header("Subject")

    @property
    def sender(self) -> str:
        return self.header("From") or self.stored.sender

    @property
    def to(self) -> str:
        return self.header("To") or ", ".join(self.stored.recipients)

    @property
    def date(self) -> datetime | None:
        with suppress(ValueError, TypeError, IndexError, OverflowError):
            return parsedate_to_datetime(self.header("Date"))
        return None


def read_head(stored: StoredMail) -> ReadMail:
    """Only the header: for lists."""
    return ReadMail(stored, _headers(email.message_from_bytes(stored.head, policy=_POLICY)))


def read(stored: StoredMail) -> ReadMail:
    message = email.message_from_bytes(stored.content, policy=_POLICY)
    text = html = None
    files = []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind, name = part.get_content_type(), _filename(part)
        if name is None and kind == "text/plain" and text is None:
            text = _words(part)
        elif name is None and kind == "text/html" and html is None:
            html = _words(part)
        else:
            files.append(MailFile(name or "unnamed", kind, _bytes(part)))
    return ReadMail(stored, _headers(message), text, html, tuple(files))


def _headers(message: email.message.Message) -> list[tuple[str, str]]:
    return [(name, _decoded(value)) for name, value in message.items()[:MAX_HEADERS]]


def _decoded(value: object) -> str:
    text = " ".join(str(value).splitlines()).strip()
    with suppress(ValueError, LookupError):  # also what is decoded wrongly: UnicodeError is a ValueError
        text = str(make_header(decode_header(text)))
    return text.encode("utf-8", "replace").decode()


def _filename(part: email.message.Message) -> str | None:
    name = None
    with suppress(ValueError, LookupError, TypeError):
        name = part.get_filename()
    if name is None:
        return "unnamed" if part.get_content_disposition() == "attachment" else None
    return _decoded(name)


def _bytes(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _words(part: email.message.Message) -> str:
    raw = _bytes(part)
    try:
        return raw.decode(part.get_content_charset() or "utf-8", "replace").replace("\r\n", "\n")
    except LookupError:  # a character set that nobody knows
        return raw.decode("utf-8", "replace").replace("\r\n", "\n")
