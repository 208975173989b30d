"""planned = the sum of the states, and each figure of a message = its deliveries in that state."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlmodel import Session, col

from crm_api.messages.counts import add_to_counts
from crm_api.messages.models import Delivery, Message
from crm_api.messages.states import State
from crm_api.reconciliation.models import Finding

MOST_MESSAGES = 500  # compared in one turn
MOST_DELIVERIES = 50_000  # counted in one turn; a larger message is counted alone


def next_messages(session: Session, changed: Iterable[UUID], after: UUID | None) -> tuple[list[UUID], UUID | None]:
    """Whose turn it is: those that have changed, then the next of all in the order of their ids, as many as a turn
    takes. And where the walk over all goes on: None at its end."""
    chosen: list[UUID] = []
    count = 0
    first = select(col(Message.id), col(Message.planned)).where(col(Message.id).in_(list(changed)[:MOST_MESSAGES]))
    for message, planned in session.execute(first.order_by(col(Message.planned))):
        if count + planned > MOST_DELIVERIES and chosen:
            break
        count += planned
        chosen.append(message)
    walk = select(col(Message.id), col(Message.planned)).order_by(col(Message.id)).limit(MOST_MESSAGES)
    if after:
        walk = walk.where(col(Message.id) > after)
    walked = 0
    for message, planned in session.execute(walk):
        if count + planned > MOST_DELIVERIES and (walked or count):
            return chosen, after
        count, walked, after = count + planned, walked + 1, message
        if message not in chosen:
            chosen.append(message)
    return chosen, after if walked == MOST_MESSAGES else None


def wrong(session: Session, messages: Collection[UUID]) -> list[UUID]:
    """Those whose figures may not be what their deliveries say; on PostgreSQL they may have moved in between."""
    there = _counted(session, messages)
    rows = session.scalars(select(Message).where(col(Message.id).in_(messages)))
    return [row.id for row in rows if _figures(row) != there[row.id] or row.planned != there[row.id].total()]


def correct(session: Session, messages: Collection[UUID], at: datetime) -> list[UUID]:
    """Looks again with the messages locked, sets wrong figures right and writes down what they were. Returns those
    that have more or fewer deliveries than were planned: that cannot be set right."""
    unequal = []
    rows = select(Message).where(col(Message.id).in_(messages)).order_by(col(Message.id)).with_for_update()
    locked = list(session.scalars(rows))
    # only now: whoever moves deliveries holds its message's row at its commit, so these two belong together
    there = _counted(session, [row.id for row in locked])
    deltas: dict[UUID, Counter[str]] = {}
    for row in locked:
        is_now, was = there[row.id], _figures(row)
        changed = {state: is_now[state] - was[state] for state in State if is_now[state] != was[state]}
        if changed:
            deltas[row.id] = Counter(changed)
            figures = {str(state): [was[state], is_now[state]] for state in changed}
            session.add(
                Finding(
                    at=at,
                    kind="sums",
                    count=sum(delta for delta in changed.values() if delta > 0) or -sum(changed.values()),
                    message_id=row.id,
                    data={"figures": figures},
                )
            )
        if row.planned != is_now.total():
            unequal.append(row.id)
    session.flush()
    add_to_counts(session, deltas, at)
    return unequal


def _figures(message: Message) -> Counter[str]:
    return Counter({state: getattr(message, state) for state in State if getattr(message, state)})


def _counted(session: Session, messages: Collection[UUID]) -> dict[UUID, Counter[str]]:
    there: dict[UUID, Counter[str]] = {message: Counter() for message in messages}
    counts = (
        select(col(Delivery.message_id), col(Delivery.state), func.count())
        .where(col(Delivery.message_id).in_(messages))
        .group_by(col(Delivery.message_id), col(Delivery.state))
    )
    for message, state, count in session.execute(counts):
        there[message][state] = count
    return there
