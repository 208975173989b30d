"""A customer's time line: what was noted and changed, and the letters, newest first.

Both kinds of rows have ids that rise with time, so the two merge by id, and a page costs the same however long the
line is.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlmodel import Session, col, select

from crm_api.customers.models import CustomerEntry
from crm_api.messages.models import Delivery, Message
from crm_api.paging import make_cursor, read_cursor

Kind = Literal["everything", "letters", "notes", "changes"]


@dataclass(frozen=True)
class Line:
    """An entry, or a letter: a delivery and its message."""

    id: UUID
    at: datetime
    entry: CustomerEntry | None = None
    delivery: Delivery | None = None
    message: Message | None = None


def timeline(
    session: Session,
    customer_id: UUID,
    kind: Kind = "everything",
    cursor: str | None = None,
    limit: int = 30,
) -> tuple[list[Line], str | None]:
    """Newest first, and the cursor of what is earlier."""
    before = read_cursor(cursor, UUID)[0] if cursor else None
    lines: list[Line] = []
    if kind != "letters":
        lines += _entries(session, customer_id, kind, before, limit + 1)
    if kind in ("everything", "letters"):
        lines += _letters(session, customer_id, before, limit + 1)
    lines.sort(key=lambda line: line.id, reverse=True)
    if len(lines) <= limit:
        return lines, None
    return lines[:limit], make_cursor(lines[limit - 1].id)


def _entries(session: Session, customer_id: UUID, kind: Kind, before: UUID | None, limit: int) -> list[Line]:
    statement = select(CustomerEntry).where(CustomerEntry.customer_id == customer_id)
    if kind == "notes":
        statement = statement.where(CustomerEntry.kind == "note")
    elif kind == "changes":
        statement = statement.where(CustomerEntry.kind != "note")
    if before:
        statement = statement.where(col(CustomerEntry.id) < before)
    rows = session.exec(statement.order_by(col(CustomerEntry.id).desc()).limit(limit))
    return [Line(row.id, row.at, entry=row) for row in rows]


def _letters(session: Session, customer_id: UUID, before: UUID | None, limit: int) -> list[Line]:
    statement = (
        select(Delivery, Message)
        .join(Message, col(Message.id) == Delivery.message_id)
        .where(Delivery.customer_id == customer_id)
    )
    if before:
        statement = statement.where(col(Delivery.id) < before)
    rows = session.exec(statement.order_by(col(Delivery.id).desc()).limit(limit))
    return [Line(delivery.id, delivery.created_at, delivery=delivery, message=message) for delivery, message in rows]
