"""The relay's side of the database: which deliveries leave next, and what the broker said.

A claim is committed before anything is published, so that a letter is never cancelled and sent. `claimed_until` says
how sure we are: empty, the broker does not have it; set, it has or may have it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, or_, select, text, update
from sqlalchemy.engine import Row
from sqlmodel import Session, col

from crm_api.auth.sealing import Seal
from crm_api.messages import secret_fields
from crm_api.messages.counts import count_moves
from crm_api.messages.models import WATCHED, Attempt, Delivery, Message, MessageAttachment
from crm_api.messages.states import State
from shared.addresses import domain_of
from shared.contracts import Attachment, Mailbox, SendCommand
from shared.header_text import lenient_line
from shared.lanes import Lane

LEASE = timedelta(seconds=60)  # a relay that died lets go of its claims after this

# written out, not bound: neither database uses a partial index for a parameter
_PENDING: ColumnElement[bool] = text("delivery.state = 'pending'")  # type: ignore[assignment]

_COLUMNS = (
    col(Delivery.id),
    col(Delivery.message_id),
    col(Delivery.address),
    col(Delivery.name),
    col(Delivery.fields),
    col(Delivery.generation),
    col(Delivery.created_at),
    col(Delivery.expires_at),
    col(Delivery.attempt),
)
Claimed = Row[tuple[UUID, UUID, str, str, dict[str, str], int, datetime, datetime, int]]


@dataclass(frozen=True, slots=True)
class Before:
    """What was tried already of a letter that is published again: the mail room's policy goes on from there."""

    first_seen: datetime
    unknowns: int


def claim(session: Session, lane: Lane, at: datetime, limit: int) -> list[Claimed]:
    """Up to `limit` deliveries of the lane that are due; they are ours until LEASE has passed."""
    due = (
        select(col(Delivery.id))
        .where(
            _PENDING,
            col(Delivery.lane) == lane,
            col(Delivery.due_at) <= at,
            or_(col(Delivery.claimed_until).is_(None), col(Delivery.claimed_until) <= at),
        )
        .order_by(col(Delivery.due_at), col(Delivery.id))
        .limit(limit)
        .with_for_update(skip_locked=True)  # two relays share the work on PostgreSQL; SQLite has one writer
    )
    claimed = session.execute(
        update(Delivery)
        .where(col(Delivery.id).in_(due))
        .values(claimed_until=at + LEASE)
        .returning(*_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    return sorted(claimed, key=lambda row: row.id)


def rows_of(session: Session, ids: list[UUID]) -> list[tuple[Lane, Claimed]]:
    """Deliveries as `claim` returns them, without claiming any; in the order of their ids."""
    rows = select(col(Delivery.lane)).add_columns(*_COLUMNS).where(col(Delivery.id).in_(ids)).order_by(col(Delivery.id))
    return [(Lane(row.lane), row) for row in session.execute(rows)]


def in_broker(session: Session, lane: Lane) -> int:
    """How many deliveries of the lane the broker holds."""
    # WATCHED, word for word, lets SQLite use ix_delivery_watched instead of reading all that was ever sent
    held = select(func.count()).where(text(WATCHED), text("delivery.state = 'queued'"), col(Delivery.lane) == lane)
    return int(session.execute(held.select_from(Delivery)).scalar_one())


def next_due(session: Session, lane: Lane) -> datetime | None:
    """When the lane's next delivery is due or its claim runs out; None if nothing is pending."""
    rows = (
        select(col(Delivery.due_at), col(Delivery.claimed_until))
        .where(_PENDING, col(Delivery.lane) == lane)
        .order_by(col(Delivery.due_at), col(Delivery.id))
        .limit(50)
    )
    return min((max(due, claimed or due) for due, claimed in session.execute(rows)), default=None)


def mark_queued(session: Session, claimed: Iterable[Claimed], at: datetime) -> None:
    """The broker has confirmed these. An outcome may have come first; then only the time is noted."""
    by_generation: dict[int, list[UUID]] = {}
    for row in claimed:
        by_generation.setdefault(row.generation, []).append(row.id)
    moves = []
    for generation, ids in by_generation.items():
        marked = session.execute(
            update(Delivery)
            .where(col(Delivery.id).in_(ids), col(Delivery.generation) == generation, col(Delivery.queued_at).is_(None))
            .values(
                queued_at=at,
                claimed_until=None,
                state=case((col(Delivery.state) == State.pending, State.queued), else_=col(Delivery.state)),
            )
            .returning(col(Delivery.message_id), col(Delivery.state))
            .execution_options(synchronize_session=False)
        )
        moves += [(message, State.pending, State.queued) for message, state in marked if state == State.queued]
    count_moves(session, moves, at)


def release(session: Session, claimed: list[Claimed], certain: bool, at: datetime) -> None:
    """Not confirmed. certain: the broker refused them; otherwise it may have them, and they are published again
    (the ledger knows a twin) but can no longer be cancelled."""
    if not claimed:
        return
    session.execute(
        update(Delivery)
        .where(col(Delivery.id).in_([row.id for row in claimed]), _PENDING)
        .values(claimed_until=None if certain else at)
        .execution_options(synchronize_session=False)
    )


def tried_before(session: Session, ids: list[UUID]) -> dict[UUID, Before]:
    rows = session.execute(
        select(
            col(Attempt.delivery_id),
            func.min(col(Attempt.received_at)),
            func.sum(case((col(Attempt.kind) == State.unknown, 1), else_=0)),
        )
        .join(Delivery, (col(Delivery.id) == Attempt.delivery_id) & (col(Delivery.generation) == Attempt.generation))
        .where(col(Attempt.delivery_id).in_(ids))
        .group_by(col(Attempt.delivery_id))
    )
    return {row[0]: Before(row[1], int(row[2])) for row in rows}


class Letters:
    """What the deliveries of one message have in common, kept for the messages that are going out now."""

    KEPT = 200

    def __init__(self, seal: Seal | None = None) -> None:
        """seal: opens what is for the recipient alone; without it, that is left out."""
        self._seal = seal
        self._known: dict[UUID, tuple[Message, tuple[Attachment, ...]]] = {}
        self._opened: dict[UUID, dict[str, str]] = {}
        self._before: dict[UUID, Before] = {}

    def load(self, session: Session, claimed: list[Claimed]) -> None:
        tried = [row.id for row in claimed if row.attempt]
        self._before = tried_before(session, tried) if tried else {}
        marked = {row.id: row.fields for row in claimed if secret_fields.has_secret(row.fields)}
        self._opened = secret_fields.opened(session, self._seal, marked) if marked else {}
        missing = {row.message_id for row in claimed} - self._known.keys()
        if not missing:
            return
        while len(self._known) > self.KEPT:
            self._known.pop(next(iter(self._known)))
        files: dict[UUID, list[Attachment]] = {}
        attached = select(MessageAttachment).where(col(MessageAttachment.message_id).in_(missing))
        for row in session.execute(attached.order_by(col(MessageAttachment.position))).scalars():
            files.setdefault(row.message_id, []).append(
                Attachment(row.sha256, row.filename, row.content_type, row.size)
            )
        for message in session.execute(select(Message).where(col(Message.id).in_(missing))).scalars():
            session.expunge(message)
            self._known[message.id] = message, tuple(files.get(message.id, ()))

    def before(self, row: Claimed) -> Before | None:
        """None if nothing of this generation has been tried."""
        return self._before.get(row.id)

    def command(self, row: Claimed, lane: Lane) -> SendCommand:
        message, attachments = self._known[row.message_id]
        return SendCommand(
            delivery=row.id,
            generation=row.generation,
            lane=lane,
            to=Mailbox(row.address, lenient_line(row.name)),
            sender=Mailbox(message.sender_address, lenient_line(message.sender_name)),
            reply_to=message.reply_to,
            subject=lenient_line(message.subject),  # all three may be from before there were rules
            text=message.text,
            html=message.html,
            fields=self._opened.get(row.id, row.fields),
            attachments=attachments,
            message_id=f"<{row.id}.{row.generation}@{domain_of(message.sender_address)}>",
            created_at=row.created_at,
            expires_at=row.expires_at,
            message=row.message_id,
        )
