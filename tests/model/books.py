"""What is promised, looked up in the databases, the dead-letter queue and the mail server's own list."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import col, or_, select

from crm_api.messages.models import Attempt, Delivery
from crm_api.messages.states import OPEN, State
from crm_api.outbox import store as outbox
from shared.contracts import OutcomeKind, delivery_key
from shared.lanes import Lane
from shared.topology import DEAD_QUEUE
from tests.model.house import BULK_IN_BROKER, House

_SUMS = text(
    "SELECT m.id, "
    + " OR ".join(
        f"m.{state} <> (SELECT count(*) FROM delivery d WHERE d.message_id = m.id AND d.state = '{state}')"
        for state in State
    )
    + " OR m.planned <> "
    + " + ".join(f"m.{state}" for state in State)
    + " FROM message m"
)


def deliveries(house: House) -> list[Delivery]:
    with house.town.database.read() as session:
        return list(session.exec(select(Delivery).order_by(col(Delivery.id))))


def key_of(delivery: Delivery) -> str:
    return delivery_key(delivery.id, delivery.generation)


def goes_on(delivery: Delivery) -> bool:
    """Whether the machine still has to do something for it."""
    return delivery.state in OPEN or (delivery.state == State.unknown and delivery.next_at is not None)


def due_lanes(house: House) -> list[Lane]:
    """Lanes in which a relay would find something to claim now."""
    at = house.clock.now()
    free = or_(col(Delivery.claimed_until).is_(None), col(Delivery.claimed_until) <= at)
    with house.town.database.read() as session:
        due = session.exec(
            select(Delivery.lane).where(Delivery.state == State.pending, col(Delivery.due_at) <= at, free).distinct()
        ).all()
        full = outbox.in_broker(session, Lane.bulk) >= BULK_IN_BROKER
    return [Lane(lane) for lane in due if not (full and lane == Lane.bulk)]


def next_due(house: House) -> datetime | None:
    with house.town.database.read() as session:
        return min((due for lane in Lane if (due := outbox.next_due(session, lane))), default=None)


def check_always(house: House) -> None:
    """True at any moment, whatever is under way."""
    assert not house.town.defects, house.town.defects
    for process in house.processes:
        assert not process.problems, process.problems
    with house.town.database.read() as session:
        wrong = [row[0] for row in session.execute(_SUMS) if row[1]]
    assert not wrong, f"the sums of {wrong} do not add up"


def check_at_rest(house: House) -> None:
    """True when nothing is under way any more."""
    found = deliveries(house)
    left = [f"{key_of(each)} is {each.state}" for each in found if goes_on(each)] + house.broker.left()
    assert not left, f"lost, or going on for ever: {left}"
    taken = Counter(house.server.taken)
    attempts: dict[str, list[Attempt]] = {}
    with house.town.database.read() as session:
        for attempt in session.exec(select(Attempt)):
            attempts.setdefault(delivery_key(attempt.delivery_id, attempt.generation), []).append(attempt)
    for delivery in found:
        key = key_of(delivery)
        if delivery.state == State.accepted:
            assert taken[key], f"{key} was never taken"
        if delivery.state in (State.cancelled, State.suppressed):
            assert not taken[key], f"{key} is {delivery.state} and was sent"
    for key, count in taken.items():
        _check_doubles(key, count, attempts.get(key, []))
    for key, tried in attempts.items():
        assert all(attempt.kind for attempt in tried), f"{key} has an attempt without an end"
        again = [each for each in tried if each.kind == OutcomeKind.unknown and each.next_at]
        assert len(again) <= 1, f"{key} was risked more than once"
    _check_dead_letters(house, found)


def _check_doubles(key: str, count: int, attempts: list[Attempt]) -> None:
    kinds = Counter(attempt.kind for attempt in attempts)
    accepted, unknown = kinds[OutcomeKind.accepted], kinds[OutcomeKind.unknown]
    assert accepted <= 1, f"{key} was accepted in {accepted} attempts"
    assert accepted <= count <= accepted + unknown, f"{key} was taken {count} times, attempts: {dict(kinds)}"


def _check_dead_letters(house: House, found: list[Delivery]) -> None:
    """One that was published twice and redelivered, too, may lie there twice: reconciliation takes the surplus out."""
    failures = {key_of(each) for each in found if each.state in (State.failed, State.unknown)}
    dead = set(dead_letters(house))
    assert dead == failures, f"dead letters {dead - failures}, failures {failures - dead}"


def dead_letters(house: House) -> list[str]:
    return [letter.key for letter in house.broker.queues[DEAD_QUEUE]]


def settle(house: House) -> None:
    """Lets everything go on undisturbed until nothing is left to do, then looks."""
    house.server.behave()
    house.broker.refusals = 0
    for _ in range(300):
        _go_on(house)
        in_hand = any(worker.intake.consumer.in_flight for worker in house.workers)
        if not in_hand and not house.broker.left() and not any(map(goes_on, deliveries(house))):
            break
        if (moment := _next_moment(house)) is None:
            break
        house.wait(moment - house.clock.seconds + 0.001)
    house.wait(1)
    for dispatch in house.dispatches:
        dispatch.sweep()
    _go_on(house)
    check_always(house)
    check_at_rest(house)


def _go_on(house: House) -> None:
    quiet = 0
    while quiet < 2:  # a relay may have ended its pause without a step
        lanes = due_lanes(house)
        for dispatch in house.dispatches:
            for lane in lanes:
                dispatch.carry(lane)
        quiet = 0 if sum([process.run(1000) for process in house.processes]) else quiet + 1


def _next_moment(house: House) -> float | None:
    """When something happens by itself, in seconds of the clock."""
    now = house.clock.monotonic()
    moments: list[Any] = [process.loop.next_timer for process in house.processes] + [house.broker.next_due]
    found = [max(0.0, moment - now) for moment in moments if moment is not None]
    # of a lane that is full, the next one may be due for long
    if (due := next_due(house)) is not None and due > house.clock.now():
        found.append((due - house.clock.now()).total_seconds())
    return None if not found else house.clock.seconds + min(found)
