"""Reading the audit: by who, what, which object and when; always newest first, by key."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, text, union_all
from sqlmodel import Session, col, select

from crm_api.audit.actions import ACTIONS
from crm_api.audit.models import RARE, AuditEntry
from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.paging import make_cursor, read_cursor
from shared.ids import earliest_id

BATCH = 500  # rows that the CSV reads at a time
_MESSAGE = "message.sent"


@dataclass(frozen=True, slots=True)
class Filter:
    """action: one, or all of an object's kind, as "user.". until: not included."""

    actor_id: UUID | None = None
    action: str = ""
    object_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


def list_page(
    session: Session, wanted: Filter, cursor: str | None = None, limit: int = 50
) -> tuple[list[AuditEntry], str | None]:
    before = read_cursor(cursor, UUID)[0] if cursor else None
    found = list(session.execute(_rows(wanted, before, limit + 1)).scalars())
    return found[:limit], make_cursor(found[limit - 1].id) if len(found) > limit else None


def every(database: Database, wanted: Filter) -> Iterator[list[AuditEntry]]:
    """All that fit, in batches; each in a transaction of its own, so that a slow reader holds nothing up."""
    cursor: str | None = None
    while True:
        with database.read() as session:
            found, cursor = list_page(session, wanted, cursor, BATCH)
        yield found
        if cursor is None:
            return


def _rows(wanted: Filter, before: UUID | None, most: int) -> Select[Any]:
    conditions = _conditions(wanted, before)
    if wanted.object_id:
        conditions = [col(AuditEntry.id).in_(_of_object(wanted.object_id.replace("\0", ""), conditions, most))]
    return select(AuditEntry).where(*conditions).order_by(col(AuditEntry.id).desc()).limit(most)


def _of_object(object_id: str, conditions: list[Any], most: int) -> Any:
    """Ids: a stretch of its index, and the entry of the sent message of that id."""
    rare = select(AuditEntry.id).where(AuditEntry.object_id == object_id, text(RARE), *conditions)
    stretch = rare.order_by(col(AuditEntry.id).desc()).limit(most).subquery()
    ids: list[Any] = [select(*stretch.c)]
    with contextlib.suppress(ValueError):
        sent = select(AuditEntry.id).where(AuditEntry.id == UUID(object_id), AuditEntry.action == _MESSAGE, *conditions)
        ids.append(sent)
    return union_all(*ids)


def _conditions(wanted: Filter, before: UUID | None) -> list[Any]:
    conditions: list[Any] = []
    if before:
        conditions.append(col(AuditEntry.id) < before)
    if wanted.actor_id:
        conditions.append(AuditEntry.actor_id == wanted.actor_id)
    if wanted.action:
        actions = _actions(wanted.action)
        conditions.append(col(AuditEntry.action).in_(actions))
        if _MESSAGE not in actions:
            conditions.append(text(RARE))  # the index ix_audit_entry_action has only these
    # ids hold the time: their index is the index of time
    if wanted.since:
        conditions.append(col(AuditEntry.id) >= earliest_id(wanted.since))
    if wanted.until:
        conditions.append(col(AuditEntry.id) < earliest_id(wanted.until))
    return conditions


def _actions(wanted: str) -> list[str]:
    found = [action for action in ACTIONS if action == wanted or (wanted.endswith(".") and action.startswith(wanted))]
    if not found:
        raise Invalid.field("action", f"There is no action {wanted}. Take one of: {', '.join(ACTIONS)}.")
    return found
