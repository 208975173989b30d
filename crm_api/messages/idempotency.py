"""Idempotency-Key: the same request sent twice is answered the same and done once.

The key is stored in the transaction of the message itself, so there is no moment in which one exists without the
other. Two requests that race for one key: the database lets one win, the other finds its answer.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.messages.models import IdempotencyKey
from shared.clock import now

KEPT = timedelta(days=2)
MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    message_id: UUID
    body: str  # JSON
    replayed: bool


def once(
    database: Database, scope: str, key: str | None, body: bytes, work: Callable[[Session], tuple[UUID, str]]
) -> Answer:
    """Runs `work` in one transaction unless this key was answered before; raises Invalid for another body."""
    if key is None:
        with database.write() as session:
            return Answer(*work(session), replayed=False)
    if not 1 <= len(key) <= MAX_CHARACTERS or not key.isprintable():
        raise Invalid.field("Idempotency-Key", f"1 to {MAX_CHARACTERS} printable characters.")
    request_hash = hashlib.sha256(body).hexdigest()
    try:
        with database.write() as session:
            if before := session.get(IdempotencyKey, (scope, key)):
                return _same(before, request_hash)
            message_id, answer = work(session)
            session.add(
                IdempotencyKey(scope=scope, key=key, request_hash=request_hash, message_id=message_id, answer=answer)
            )
        return Answer(message_id, answer, replayed=False)
    except IntegrityError:
        with database.read() as session:
            if won := session.get(IdempotencyKey, (scope, key)):
                return _same(won, request_hash)
        raise


def _same(before: IdempotencyKey, request_hash: str) -> Answer:
    if before.request_hash != request_hash:
        raise Invalid.field("Idempotency-Key", "This key was used before with another body. Make up a new one.")
    return Answer(before.message_id, before.answer, replayed=True)


def sweep(session: Session) -> None:
    """Forgets keys older than KEPT."""
    session.execute(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < now() - KEPT))
