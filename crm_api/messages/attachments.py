"""Attachments: stored once by their hash, checked before a message may name them."""

import base64
import binascii
import logging
import mimetypes
from uuid import UUID

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.errors import FieldProblem, Invalid, TooLarge, Unavailable
from crm_api.limits import MAX_FILENAME
from crm_api.messages.file_types import named_again, type_of
from crm_api.messages.models import MessageAttachment, StoredFile
from crm_api.messages.schemas import AttachmentDraft
from crm_api.settings import CrmSettings
from shared.files import FileNotKept, FileStore, hash_of
from shared.header_text import BadHeader, one_line
from shared.media_types import BYTES, clean_media_type

log = logging.getLogger("web")

# the last ones turn the direction of writing: exe.fdp reads as pdf.exe
_NOT_IN_A_NAME = set('/\\:*?"<>|') | {
    chr(code) for code in (*range(32), 0x7F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def store_file(
    session: Session,
    principal: Principal,
    files: FileStore,
    settings: CrmSettings,
    content: bytes,
    filename: str,
    content_type: str | None = None,
    sha256: str | None = None,
) -> StoredFile:
    """Keeps the bytes and the row that names them. sha256: what the sender says it is, checked."""
    stored = _keep(files, settings, content, filename, content_type, sha256, "file")
    upsert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(StoredFile)
    session.execute(upsert.on_conflict_do_nothing(), [stored.model_dump()])
    record(session, principal, "file.stored", stored.sha256, filename, bytes=stored.size)
    return session.get_one(StoredFile, stored.sha256)


def _keep(
    files: FileStore,
    settings: CrmSettings,
    content: bytes,
    filename: str,
    content_type: str | None,
    sha256: str | None,
    field: str,
) -> StoredFile:
    """The bytes are in the file store; the row is yet to be stored."""
    if not content:
        raise Invalid.field(field, f"{filename} is empty.")
    if len(content) > settings.max_attachment_bytes:
        limit = f"{filename} is too large: an attachment has at most {settings.max_attachment_bytes:,} bytes."
        raise TooLarge(limit, FieldProblem(field, limit))
    filename = clean_filename(filename, field)
    if sha256 and sha256 != hash_of(content):
        raise Invalid.field(field, f"{filename} does not match its hash: it was changed or cut on its way.")
    kind = content_type or mimetypes.guess_type(filename)[0] or BYTES
    try:
        kept = files.put(content)
    except FileNotKept as problem:
        log.error("an attachment cannot be kept: %s", problem)
        raise Unavailable(
            "The disk does not take the attachment. Nothing was done; try again in a moment."
        ) from problem
    return StoredFile(sha256=kept, size=len(content), content_type=type_of(content, clean_media_type(kind)))


def attach(
    session: Session, files: FileStore, settings: CrmSettings, message_id: UUID, drafts: list[AttachmentDraft]
) -> tuple[list[MessageAttachment], list[StoredFile]]:
    """The rows to store, and before them those of the files that came with the draft.

    Raises Invalid or TooLarge naming attachments[n].
    """
    rows, new = [], []
    for position, draft in enumerate(drafts):
        where = f"attachments[{position}]"
        filename = clean_filename(draft.filename, f"{where}.filename")
        if draft.content is not None:
            content = _decode(draft.content, where)
            stored = _keep(files, settings, content, draft.filename, draft.content_type, draft.sha256, where)
            new.append(stored)
        else:
            found = session.get(StoredFile, draft.sha256) if draft.sha256 else None
            if found is None:
                what = (
                    "Give content, or the sha256 of a file that was uploaded."
                    if not draft.sha256
                    else (f"No file with this hash was uploaded ({draft.filename}).")
                )
                raise Invalid.field(where, what)
            stored = found
        rows.append(
            MessageAttachment(
                message_id=message_id,
                position=position,
                sha256=stored.sha256,
                filename=filename,
                content_type=_type_here(draft, stored),
                size=stored.size,
            )
        )
    if (total := sum(row.size for row in rows)) > settings.max_attachments_bytes:
        limit = f"All attachments together are {total:,} bytes; at most {settings.max_attachments_bytes:,}."
        raise TooLarge(limit, FieldProblem("attachments", limit))
    return rows, new


def clean_filename(filename: str, field: str) -> str:
    """NFC, in one line; raises Invalid."""
    try:
        filename = one_line(filename)
    except BadHeader as problem:
        raise Invalid.field(field, str(problem)) from problem
    if not filename.strip(" .") or len(filename) > MAX_FILENAME or _NOT_IN_A_NAME & set(filename):
        raise Invalid.field(field, f'A file name has 1 to {MAX_FILENAME} characters and none of / \\ : * ? " < > |.')
    return filename


def _decode(content: str, where: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Invalid.field(f"{where}.content", "This is not base64.") from problem


def _type_here(draft: AttachmentDraft, stored: StoredFile) -> str:
    said = draft.content_type
    return named_again(stored.content_type, clean_media_type(said)) if said else stored.content_type
