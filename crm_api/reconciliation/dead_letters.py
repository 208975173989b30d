"""The dead-letter queue and the failures are the same letters, one for one; what is not is put right or shown."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlmodel import Session, col

from crm_api.changes import announce
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages import secret_fields
from crm_api.messages.counts import count_moves
from crm_api.messages.models import WATCHED, Delivery, DeliveryEntry
from crm_api.messages.states import OPEN, State, allowed
from crm_api.reconciliation.letters import requeue
from crm_api.reconciliation.models import Finding, Stranger
from shared.amqp import Found
from shared.clock import now
from shared.contracts import BadContract, SendCommand, delivery_key, split_key
from shared.ids import new_id

MOST = 50_000  # more dead letters or failures are compared by their number only
AT_ONCE = 500
PUT_BACK = 1000  # failures that get a dead letter in one turn
EXAMPLES = 10
NOTED_BEFORE = timedelta(minutes=1)  # dispatch says why an event is set aside before it lies there

# why the broker gave it up, in its own word → for a person
REASONS = {
    "delivery_limit": "Each worker that got it ended or gave it back, twenty times over. Then the broker gave it up.",
    "rejected": "The mail room gave it up, and what it said about it was lost.",
    "expired": "It lay in a queue for longer than it may.",
    "maxlen": "Its queue was full.",
}
OTHER_REASON = "The broker gave it up and did not say why."


@dataclass
class Sorted:
    """The dead letters, one by one. silent: their delivery has no outcome yet. left_over: their delivery has come to
    another end, or was sent again. doubled: keys that lie there more than once, and how often."""

    silent: list[tuple[Any, Found]] = field(default_factory=list)
    left_over: set[str] = field(default_factory=set)
    doubled: Counter[str] = field(default_factory=Counter)
    strangers: list[Found] = field(default_factory=list)
    without: list[UUID] = field(default_factory=list)  # failures that are not there


def sort(session: Session, dead: Sequence[Found], settled: datetime) -> Sorted:
    """settled: what came later than this may still be under way, and is left alone."""
    result = Sorted()
    there = Counter(found.key for found in dead)
    ours: dict[tuple[UUID, int], Found] = {}
    leaving = set(session.scalars(select(DeadLetterRemoval.key)))  # type: ignore[call-overload]
    for found in dead:
        try:
            if found.type and found.type != SendCommand.TYPE:
                raise BadContract(found.type)
            ours[split_key(found.key)] = found  # the last of several, which died last
        except BadContract:
            result.strangers.append(found)
    known = {row.id: row for row in _deliveries(session, [delivery for delivery, _ in ours])}
    for (delivery, generation), found in ours.items():
        row = known.get(delivery)
        if row is None or generation > row.generation:
            result.strangers.append(found)
        elif generation < row.generation or row.state not in (*OPEN, State.failed, State.unknown):
            result.left_over.add(found.key)
        elif (row.state in OPEN or row.next_at) and (found.died_at is None or found.died_at < settled):
            result.silent.append((row, found))
    result.left_over -= leaving
    alone = leaving | result.left_over | {found.key for found in result.strangers}
    result.doubled = Counter({key: count for key, count in there.items() if count > 1 and key not in alone})
    if len(dead) < MOST:
        result.without = [
            row.id for row in _failures(session, settled) if delivery_key(row.id, row.generation) not in there
        ]
    return result


def settle(session: Session, silent: Sequence[tuple[Any, Found]], at: datetime) -> None:
    """A dead letter without an outcome: the mail room is asked once what its ledger knows, if it was the mail room
    that gave it up; else, and when it does so again, it has failed (or stays unknown), and a person decides."""
    asked = _asked(session, [row.id for row, _ in silent])
    ask, given_up = [], []
    for row, found in silent:
        asked_at = asked.get((row.id, row.generation))
        if found.died_of != "rejected" or (asked_at and found.died_at and found.died_at > asked_at):
            if _give_up(session, row, found, at):
                given_up.append(row.id)
        elif not asked_at and row.state != State.pending:
            ask.append(row)
    requeue(session, ask, kind="asked")
    note(session, "asked", [row.id for row in ask], at)
    note(session, "failed", given_up, at)


def _asked(session: Session, ids: Sequence[UUID]) -> dict[tuple[UUID, int], datetime]:
    entries = select(DeliveryEntry).where(col(DeliveryEntry.delivery_id).in_(ids), col(DeliveryEntry.kind) == "asked")
    return {(entry.delivery_id, entry.generation): entry.at for entry in session.scalars(entries)}


def _give_up(session: Session, row: Any, found: Found, at: datetime) -> bool:
    reason = REASONS.get(found.died_of, OTHER_REASON)
    # one that may have been sent already has not failed
    state = State.unknown if row.state == State.unknown else State.failed
    if state != row.state and not allowed(State(row.state), state):
        return False
    changed = session.connection().execute(
        update(Delivery)
        .where(col(Delivery.id) == row.id, col(Delivery.state) == row.state, col(Delivery.attempt) == row.attempt)
        .values(state=state, reason=reason, done_at=at, next_at=None, claimed_until=None)
    )
    if not changed.rowcount:
        return False
    secret_fields.forget(session, [row.id], state)
    session.add(
        DeliveryEntry(
            id=new_id(),
            delivery_id=row.id,
            generation=row.generation,
            at=at,
            kind="given_up",
            by="",
            text=reason,
            data={"state": row.state, "reason": found.died_of},
        )
    )
    session.flush()
    if state != row.state:
        count_moves(session, [(row.message_id, row.state, state)], at)
    announce(session, f"message:{row.message_id}", *([f"customer:{row.customer_id}"] if row.customer_id else []))
    return True


def note_strangers(session: Session, strangers: Sequence[Found]) -> None:
    """The table holds those that are there now; when each was first found is kept."""
    known = {row.key: row for row in session.scalars(select(Stranger))}
    now_there = {found.key: found for found in strangers}
    on_its_way = now() - NOTED_BEFORE
    for key, row in known.items():
        if key not in now_there and row.found_at < on_its_way:
            session.delete(row)
    for key, found in now_there.items():
        if key not in known:
            session.add(
                Stranger(
                    key=key,
                    type=found.type,
                    reason=found.died_of,
                    routing_key=found.routing_key,
                    size=found.size,
                    died_at=found.died_at,
                )
            )
    session.flush()


def note(
    session: Session, kind: str, keys: Sequence[object], at: datetime, by: str = "", message_id: UUID | None = None
) -> None:
    """Writes down what was found of these, if it is any."""
    if keys:
        data: dict[str, object] = {"examples": [str(key) for key in keys[:EXAMPLES]]}
        session.add(Finding(at=at, kind=kind, by=by, count=len(keys), message_id=message_id, data=data))


def superfluous(result: Sorted, taken: list[Found]) -> Callable[[Found], bool]:
    """Says yes to what is left over, and to every copy but the last of what is doubled, and adds it to `taken`."""
    copies = result.doubled.copy()

    def take(found: Found) -> bool:
        copies[found.key] -= 1
        if found.key not in result.left_over and copies[found.key] <= 0:
            return False
        taken.append(found)
        return True

    return take


_COLUMNS = (
    col(Delivery.id),
    col(Delivery.message_id),
    col(Delivery.customer_id),
    col(Delivery.state),
    col(Delivery.generation),
    col(Delivery.attempt),
    col(Delivery.queued_at),
    col(Delivery.next_at),
)


def _deliveries(session: Session, ids: Sequence[UUID]) -> Iterator[Any]:
    for start in range(0, len(ids), AT_ONCE):
        yield from session.execute(select(*_COLUMNS).where(col(Delivery.id).in_(ids[start : start + AT_ONCE])))


def _failures(session: Session, settled: datetime) -> Sequence[Any]:
    rows = select(col(Delivery.id), col(Delivery.generation)).where(
        text(WATCHED),
        col(Delivery.state).in_([State.failed, State.unknown]),
        col(Delivery.next_at).is_(None),
        col(Delivery.done_at) < settled,
    )
    return session.execute(rows.limit(MOST)).all()
