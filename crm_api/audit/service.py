"""Reading the audit: by who, what, which object and when; always newest first, by key."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, text
from sqlmodel import Session, col, select

from crm_api.audit.actions import ACTIONS
from crm_api.audit.models import RARE, AuditEntry
from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.paging import make_cursor, read_cursor

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
    rows = _rows(wanted).limit(limit + 1)
    if cursor:
        rows = rows.where(col(AuditEntry.id) < read_cursor(cursor, UUID)[0])
    found = list(session.execute(rows).scalars())
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


def _rows(wanted: Filter) -> Select[Any]:
    rows = select(AuditEntry).order_by(col(AuditEntry.id).desc())
    if wanted.actor_id:
        rows = rows.where(AuditEntry.actor_id == wanted.actor_id)
    if wanted.object_id:
        rows = rows.where(AuditEntry.object_id == wanted.object_id.replace("\0", ""))
    if wanted.action:
        actions = _actions(wanted.action)
        rows = rows.where(col(AuditEntry.action).in_(actions))
        if _MESSAGE not in actions:
            rows = rows.where(text(RARE))  # the index ix_audit_entry_action has only these
    # ids hold the time: their index is the index of time
    if wanted.since:
        rows = rows.where(col(AuditEntry.id) >= _first_id(wanted.since))
    if wanted.until:
        rows = rows.where(col(AuditEntry.id) < _first_id(wanted.until))
    return rows


def _actions(wanted: str) -> list[str]:
    found = [action for action in ACTIONS if action == wanted or (wanted.endswith(".") and action.startswith(wanted))]
    if not found:
        raise Invalid.field("action", f"There is no action {wanted}. Take one of: {', '.join(ACTIONS)}.")
    return found


def _first_id(at: datetime) -> UUID:
    """Below every id that is made from this moment on (see shared.ids)."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)
