"""Letters as the bytes that go over the wire after DATA.

Whatever is the same for every recipient of a message (attachments, sender, texts without fields) is written
once and kept by its content; for one more recipient only the fields are filled in.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from email.utils import formatdate

from email_service import mime
from email_service.attachment_part import attachment_part
from email_service.mime import BadMail
from shared.addresses import BadAddress
from shared.contracts import SendCommand
from shared.fields import FieldError, Template
from shared.files import FileDamaged, FileMissing, FileStore
from shared.header_text import BadHeader
from shared.html_fields import HtmlTemplate
from shared.mailboxes import parse_mailbox
from shared.tasks import run_once

KEPT_MESSAGES = 256  # more than are ever under way at once; of a person's letter nothing is asked for again
KEPT_BYTES = 64 * 1024 * 1024
_Key = tuple[object, ...]


class CannotCompose(Exception):
    """This letter cannot be written, now or later; str() says why, for a person."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`content` ends in CRLF and is dot-stuffed (RFC 5321, section 4.5.2): only the final dot is missing."""

    sender: str
    recipient: str
    content: bytes
    needs_utf8: bool = False  # an address that only SMTPUTF8 can carry (RFC 6531)


class _Body:
    """A text part: bytes if it has no fields, else a template."""

    def __init__(self, subtype: str, source: str) -> None:
        self._subtype, self._template = subtype, (HtmlTemplate if subtype == "html" else Template)(source)
        self._fixed = None if self._template.fields else mime.text_part(subtype, self._template.fill({}))
        self.size = len(source)

    def fill(self, fields: dict[str, str]) -> bytes:
        if self._fixed is not None:
            return self._fixed
        return mime.text_part(self._subtype, self._template.fill(fields))


class _Prepared:
    """What all recipients of one message share."""

    def __init__(self, command: SendCommand, attachments: list[bytes]) -> None:
        self.sender = mime.envelope("the sender", command.sender.address)
        self._subject = Template(command.subject)
        self._fixed_subject = None if self._subject.fields else mime.unstructured("Subject", self._subject.fill({}))
        self._text = _Body("plain", command.text)
        self._html = None if command.html is None else _Body("html", command.html)
        self._from = b"From: %s\r\n" % mime.mailbox("the sender", command.sender.address, command.sender.name)
        if command.reply_to:
            name, address = parse_mailbox(command.reply_to)
            self._from += b"Reply-To: %s\r\n" % mime.mailbox("Reply-To", address, name)
        self._attachments = attachments
        token = secrets.token_hex(12).encode()
        self._inner, self._outer = b"=_alternative_" + token, b"=_mixed_" + token
        self.size = sum(map(len, attachments)) + 2 * (len(command.text) + len(command.html or ""))

    def letter(self, command: SendCommand) -> Letter:
        fields = command.fields
        subject = self._fixed_subject or mime.unstructured("Subject", self._subject.fill(fields))
        body = self._text.fill(fields)
        if self._html is not None:
            body = mime.multipart("alternative", self._inner, [body, self._html.fill(fields)])
        if self._attachments:
            body = mime.multipart("mixed", self._outer, [body, *self._attachments])
        recipient = mime.envelope("the recipient", command.to.address)
        to = mime.mailbox("the recipient", command.to.address, command.to.name)
        content = b"Date: %s\r\n%s%sTo: %s\r\n%sMIME-Version: 1.0\r\n%s" % (
            _date().encode(),
            mime.message_id(command.message_id),
            self._from,
            to,
            subject,
            body,
        )
        if b"\r\n." in content:
            content = content.replace(b"\r\n.", b"\r\n..")
        ascii_only = self.sender.isascii() and recipient.isascii() and self._from.isascii()
        return Letter(self.sender, recipient, content, needs_utf8=not ascii_only)


def _date() -> str:
    """In UTC, and said to be: -0000 would mean that nobody knows where we are (RFC 5322, section 3.3)."""
    return formatdate(time.time()).removesuffix("-0000") + "+0000"


class Composer:
    """Writes letters; keeps the prepared parts of the messages it saw last, up to 256 and 64 MB."""

    def __init__(self, files: FileStore, kept_bytes: int = KEPT_BYTES) -> None:
        self._files, self._kept_bytes, self._size = files, kept_bytes, 0
        self._kept: OrderedDict[_Key, _Prepared] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[_Prepared]] = {}

    async def compose(self, command: SendCommand) -> Letter:
        """Raises CannotCompose."""
        try:
            return (await self._prepared(command)).letter(command)
        except (FieldError, BadMail, BadAddress, BadHeader) as problem:
            raise CannotCompose(str(problem)) from problem
        except FileMissing as problem:
            raise CannotCompose("An attachment is missing from the file store.") from problem
        except FileDamaged as problem:
            raise CannotCompose("An attachment is damaged: it is not the file that was attached.") from problem
        except UnicodeError as problem:
            raise CannotCompose("The letter contains characters that do not exist.") from problem

    async def _prepared(self, command: SendCommand) -> _Prepared:
        key = (command.subject, command.text, command.html, command.sender, command.reply_to, command.attachments)
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return found
        if not command.attachments:
            return self._keep(key, _Prepared(command, []))
        # many recipients of one message come at once: the first reads the files, the others wait for it
        if (task := self._reading.get(key)) is None:
            task = self._reading[key] = run_once(self._read(key, command), "reading attachments")
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(task)

    async def _read(self, key: _Key, command: SendCommand) -> _Prepared:
        def parts() -> list[bytes]:
            return [
                attachment_part(file.filename, file.content_type, self._files.get(file.sha256))
                for file in command.attachments
            ]

        return self._keep(key, _Prepared(command, await asyncio.to_thread(parts)))

    def _keep(self, key: _Key, prepared: _Prepared) -> _Prepared:
        if key not in self._kept:
            self._kept[key] = prepared
            self._size += prepared.size
        while len(self._kept) > KEPT_MESSAGES or (self._size > self._kept_bytes and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
        return prepared
