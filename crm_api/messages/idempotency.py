"""Idempotency-Key: the same request sent twice is answered the same and done once.

The key is stored in the transaction of the message itself, so there is no moment in which one exists without the
other. Two requests that race for one key: the database lets one win, the other finds its answer.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Table, delete
from sqlmodel import Session, col

from crm_api.errors import Invalid
from crm_api.hot import Hot
from crm_api.messages.models import IdempotencyKey
from shared.clock import now

KEPT = timedelta(days=2)
MAX_CHARACTERS = 200

_BEFORE = """
    SELECT scope, key, request_hash, message_id, answer FROM idempotency_key WHERE scope IN {} AND key IN {}
"""
_table: Table = IdempotencyKey.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Key:
    scope: str
    key: str
    request_hash: str

    @property
    def name(self) -> tuple[str, str]:
        return self.scope, self.key


@dataclass(frozen=True, slots=True)
class Answer:
    message_id: UUID
    body: str  # JSON
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Before:
    request_hash: str
    message_id: UUID
    answer: str


def key_of(scope: str, key: str | None, body: BaseModel, digest: Callable[[str], str]) -> Key | None:
    """None without a key; raises Invalid for one that is none. digest: of the body as JSON."""
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_CHARACTERS or not key.isprintable():
        raise Invalid.field("Idempotency-Key", f"1 to {MAX_CHARACTERS} printable characters.")
    return Key(scope, key, digest(body.model_dump_json()))


def answered(hot: Hot, keys: Collection[Key]) -> dict[tuple[str, str], Before]:
    """Those that came before, by their names."""
    if not keys:
        return {}
    found = hot.select(_BEFORE, [key.scope for key in keys], [key.key for key in keys])
    return {
        (scope, key): Before(request_hash, UUID(str(message)), answer)
        for scope, key, request_hash, message, answer in found
    }


def same(before: Before, key: Key) -> Answer | Invalid:
    """What was answered then, unless that was to another body."""
    if before.request_hash != key.request_hash:
        what = "This key was used before with another body. Make up a new one."
        return Invalid.field("Idempotency-Key", what)
    return Answer(before.message_id, before.answer, replayed=True)


def keep(hot: Hot, answers: Iterable[tuple[Key, Answer]]) -> None:
    """Raises IntegrityError if one of the keys is there already, or twice among these."""
    at = now()
    rows = [
        {
            "scope": key.scope,
            "key": key.key,
            "created_at": at,
            "request_hash": key.request_hash,
            "message_id": answer.message_id,
            "answer": answer.body,
        }
        for key, answer in answers
    ]
    hot.insert(_table, rows)


def sweep(session: Session) -> None:
    """Forgets keys older than KEPT."""
    session.execute(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < now() - KEPT))
