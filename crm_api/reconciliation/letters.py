"""Letters that the broker has lost: how they are found, and the two ways on.

A letter that entered its lane before the lane was seen empty was in a worker's hand at that moment, or lost. If it
has no outcome later, and the broker's figures have no room for it either, it is missing. To publish it again is safe
even if that should be wrong: the mail room's ledger knows a letter that was sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, text, update
from sqlalchemy.engine import Row
from sqlmodel import Session, col

from crm_api.changes import announce
from crm_api.messages import secret_fields
from crm_api.messages.counts import count_moves
from crm_api.messages.models import WATCHED, Delivery, DeliveryEntry
from crm_api.messages.states import OPEN, REQUEUEABLE, State, allowed
from crm_api.reconciliation.figures import from_row
from crm_api.reconciliation.models import Look
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.ids import new_id
from shared.lanes import Lane
from shared.topology import WAIT_JITTER, WAIT_SECONDS

# a wait queue lets go of its messages in turn, so one may have to wait for a longer one before it
OVERRUN = timedelta(seconds=max(WAIT_SECONDS.values()) * 2 * WAIT_JITTER)
REMEMBERED = timedelta(days=1)  # so much sooner than the ledger forgets a letter, nobody relies on it any more

Lost = Row[tuple[UUID, UUID, UUID | None, str, int, int, datetime | None, str, datetime]]


@dataclass(frozen=True, slots=True)
class Seen:
    """When the lane's queue was last seen empty, and when it and all wait queues were."""

    empty: datetime | None = None
    all_empty: datetime | None = None


def seen_empty(session: Session, lane: Lane, before: datetime) -> Seen:
    """By looks that are older than `before`."""
    empty: datetime | None = None
    for look in session.scalars(select(Look).where(col(Look.at) < before).order_by(col(Look.at).desc())):
        figures = from_row(look)
        if not figures.reached or figures.events or figures.of(lane).ready:
            continue
        empty = empty or look.at
        if not figures.waits:
            return Seen(empty, look.at)
    return Seen(empty)


def lost(session: Session, lane: Lane, seen: Seen, most: int, message_id: UUID | None = None) -> Sequence[Lost]:
    """The `most` that have been overdue longest; of these, those of one message if it is named."""
    again = col(Delivery.state).in_([State.deferred, State.unknown])
    since = func.coalesce(col(Delivery.next_at), col(Delivery.queued_at))
    overdue: list[ColumnElement[bool]] = []
    if seen.empty:
        overdue.append(and_(col(Delivery.state) == State.queued, col(Delivery.queued_at) < seen.empty))
        overdue.append(and_(again, col(Delivery.next_at) < seen.empty - OVERRUN))
    if seen.all_empty:
        overdue.append(and_(again, col(Delivery.next_at) < seen.all_empty))
    if not overdue or not most:
        return []
    oldest = (
        select(col(Delivery.id))
        .where(text(WATCHED), col(Delivery.lane) == lane, col(Delivery.state).in_(REQUEUEABLE), or_(*overdue))
        .order_by(since, col(Delivery.id))
        .limit(most)
    )
    rows = (
        select(
            col(Delivery.id),
            col(Delivery.message_id),
            col(Delivery.customer_id),
            col(Delivery.state),
            col(Delivery.generation),
            col(Delivery.attempt),
            col(Delivery.queued_at),
            col(Delivery.lane),
            func.coalesce(col(Delivery.next_at), col(Delivery.due_at)).label("since"),
        )
        .where(col(Delivery.id).in_(oldest))
        .order_by(since, col(Delivery.id))
        .with_for_update(skip_locked=True)
    )
    if message_id:
        rows = rows.where(col(Delivery.message_id) == message_id)
    return session.execute(rows).all()


def remembered_since(settings: CrmSettings, at: datetime) -> datetime:
    """The mail room's ledger knows what came of everything that was with it after this."""
    return at - timedelta(days=settings.ledger_days) + REMEMBERED


def requeue(session: Session, rows: Sequence[Lost], by: str = "", kind: str = "requeued") -> int:
    """Pending again, as the same generation, and not to be cancelled: the relay publishes them as their next attempt.
    kind: requeued, or asked (see words.STEPS)."""
    return _move(session, rows, State.pending, kind, by, queued_at=None, next_at=None, claimed_until=now())


def give_up(session: Session, rows: Sequence[Lost], by: str) -> int:
    """For those that the ledger may have forgotten: nobody can know whether they were sent."""
    values: dict[str, Any] = {"next_at": None, "done_at": now(), "claimed_until": None, "reason": STEPS["lost"]}
    return _move(session, rows, State.unknown, "lost", by, **values)


STEPS = {
    "requeued": "Nothing had come of it, and the broker no longer holds it. Should it have been sent after all, the "
    "mail room’s ledger says so and does not send it again.",
    "asked": "It lies in the dead letters, and what came of it was never told. The mail room’s ledger knows.",
    "lost": "The broker has lost it, and it is too long ago for the mail room’s ledger to say whether it was sent.",
}


def _move(session: Session, rows: Sequence[Lost], state: State, kind: str, by: str, **values: object) -> int:
    moved = []
    for old in {row.state for row in rows}:
        # nobody knows, and nobody will: unknown stays what it is
        if old != state and not allowed(State(old), state):
            raise ValueError(f"{old} does not become {state}")
        changed = session.execute(
            update(Delivery)
            .where(col(Delivery.id).in_([row.id for row in rows if row.state == old]), col(Delivery.state) == old)
            .values(state=state, **values)
            .returning(col(Delivery.id))
            .execution_options(synchronize_session=False)
        )
        done = set(changed.scalars())
        moved += [row for row in rows if row.id in done]
    at = now()
    if state not in OPEN:
        secret_fields.forget(session, [row.id for row in moved], state)
    for row in moved:
        queued_at = row.queued_at.isoformat() if row.queued_at and state == State.pending else None
        session.add(
            DeliveryEntry(
                id=new_id(),
                delivery_id=row.id,
                generation=row.generation,
                at=at,
                kind=kind,
                by=by,
                text=STEPS[kind],
                data={"state": row.state, "attempt": row.attempt} | ({"queued_at": queued_at} if queued_at else {}),
            )
        )
    session.flush()
    count_moves(session, [(row.message_id, row.state, state) for row in moved if row.state != state], at)
    announce(session, "outbox", "reconciliation", *(f"customer:{row.customer_id}" for row in moved if row.customer_id))
    announce(session, *(f"message:{row.message_id}" for row in moved))
    return len(moved)
