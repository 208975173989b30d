"""A stored mail, read: what its header says, its text and HTML, its files. Never raises, whatever came in."""

import hashlib
import mimetypes
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from crm_api.sandbox import mime
from crm_api.sandbox.store import StoredMail
from shared.encoded_words import text_of

_TEXTS = ("text/plain", "text/enriched", "text/markdown", "text/x-markdown")
_MAILS = ("message/rfc822", "message/global", "message/news")
_YEARS = range(1900, 9000)  # a date beyond them has no place in every zone


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
        return mime.header_of(self.headers, name)

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
        """In UTC, as every page can show it; None if it is no date of this world."""
        with suppress(ValueError, TypeError, IndexError, OverflowError):
            found = parsedate_to_datetime(self.header("Date")[:100])
            found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
            return found if found.year in _YEARS else None
        return None


def read_head(stored: StoredMail) -> ReadMail:
    """Only the header: for lists."""
    return ReadMail(stored, mime.read_head(stored.head)[0])


def read(stored: StoredMail) -> ReadMail:
    headers, _ = mime.read_head(stored.content)
    text, html, files = _contents(stored.content)
    return ReadMail(stored, headers, text, html, tuple(files))


def _contents(content: bytes, depth: int = 0) -> tuple[str | None, str | None, list[MailFile]]:
    texts: list[str] = []
    pages: list[str] = []
    files: list[MailFile] = []
    mail: bytes | None = None
    for part in mime.walk(content):
        first = not (part.inside == "multipart/alternative" and (pages if part.kind == "text/html" else texts))
        if part.kind in _MAILS:
            mail = mail or part.content
            files.append(_mail_inside(part))
        elif part.filename is None and not part.attached and part.kind in _TEXTS and first:
            rest, inside = mime.uuencoded(part.content)
            texts.append(_words(rest, part))
            files += [
                MailFile(_name(name, "application/octet-stream"), "application/octet-stream", it) for name, it in inside
            ]
        elif part.filename is None and not part.attached and part.kind == "text/html" and first:
            pages.append(_words(part.content, part))
        elif part.kind.startswith("multipart/"):  # without a boundary, or too deep: its words are all that it has
            texts.append(_words(part.body, part))
        else:
            files.append(MailFile(_name(part.filename, part.kind), part.kind, part.content))
    if not texts and not pages and mail is not None and depth < 3:  # a mail that holds nothing but a mail
        text, html, _ = _contents(mail, depth + 1)
        return text, html, files
    return "\n".join(texts) if texts else None, "\n".join(pages) if pages else None, files


def _mail_inside(part: mime.Part) -> MailFile:
    content = part.content
    subject = mime.header_of(mime.read_head(content)[0], "Subject")
    named = part.filename or f"{subject[:100] or 'unnamed'}.eml".replace("/", "_").replace("\\", "_")
    return MailFile(_name(named, part.kind), part.kind, content)


def _name(name: str | None, kind: str) -> str:
    """unnamed.pdf, if nobody has named it."""
    if not name:
        plain = kind.startswith(("message/", "multipart/")) or kind == "text/rfc822-headers"  # of bounces: words
        return f"unnamed{'.txt' if plain else mimetypes.guess_extension(kind) or ''}"
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    return "".join(one if one.isprintable() else "_" for one in last)[:200] or "unnamed"


def _words(content: bytes, part: mime.Part) -> str:
    text = text_of(content, part.parameters.get("charset"))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
