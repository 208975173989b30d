"""Events that come late, shuffled, repeated and in any groups end where they end in order."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from sqlmodel import col, select

from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages.models import Attempt, Delivery, Message
from crm_api.messages.states import State
from crm_api.outcomes import store
from shared.contracts import AttemptStarted, Outcome, OutcomeKind
from tests.model.effort import effort
from tests.model.house import Town
from tests.support.outcomes import outcome_of

KINDS = some.sampled_from(list(OutcomeKind))


@some.composite
def histories(draw: some.DrawFn) -> list[tuple[int, OutcomeKind, bool]]:
    """(attempt, kind, whether it goes on) as a mail room may report them: it goes on after deferred or unknown only,
    and a worker that slept may say of the newest attempt that it was accepted after all."""
    going_on = draw(some.lists(some.sampled_from([OutcomeKind.deferred, OutcomeKind.unknown]), max_size=3))
    told = [(number, kind, True) for number, kind in enumerate(going_on, 1)]
    last = draw(some.none() | some.sampled_from([OutcomeKind.accepted, OutcomeKind.failed, OutcomeKind.unknown]))
    if last:
        told.append((len(told) + 1, last, False))
    if told and told[-1][1] is OutcomeKind.unknown and draw(some.booleans()):
        told.append((told[-1][0], OutcomeKind.accepted, False))
    return told


def events(delivery: Delivery, history: list[tuple[int, OutcomeKind, bool]], town: Town) -> list[Any]:
    found: list[Any] = []
    for attempt, kind, goes_on in history:
        at = town.clock.now()
        found.append(AttemptStarted(delivery.id, delivery.generation, attempt, "north/1", "north.example", at))
        next_at = at + timedelta(minutes=10) if goes_on else None
        found.append(outcome_of(delivery, attempt=attempt, kind=kind, next_at=next_at, reason=str(kind)))
    return found


def told(town: Town, groups: list[list[Any]], letters: int) -> tuple[Any, ...]:
    """What the database says after these groups of events, each in a transaction of its own."""
    with town.database.read() as session:
        ids = list(session.exec(select(Delivery.id).order_by(col(Delivery.id))))[-letters:]
    for group in groups:
        with town.database.write() as session:
            if started := [event for event in group if isinstance(event, AttemptStarted)]:
                store.begin(session, started)
            if outcomes := [event for event in group if isinstance(event, Outcome)]:
                store.apply(session, outcomes, town.clock.now())
    with town.database.read() as session:
        deliveries = session.exec(select(Delivery).where(col(Delivery.id).in_(ids)).order_by(col(Delivery.id))).all()
        message = session.get_one(Message, deliveries[0].message_id)
        attempts = session.exec(select(Attempt).where(col(Attempt.delivery_id).in_(ids)))
        removals = set(session.exec(select(DeadLetterRemoval.key)))
        number = {each: place for place, each in enumerate(ids)}
        return (
            [(each.state, each.attempt, each.reason, each.next_at) for each in deliveries],
            {state: getattr(message, state) for state in State},
            sorted((number[each.delivery_id], each.attempt, each.kind or "", each.reason or "") for each in attempts),
            sorted(number[each] for each in ids if f"{each}.1" in removals),
        )


@effort(100)
@given(
    written=some.lists(histories(), min_size=1, max_size=3),
    copies=some.integers(1, 3),
    order=some.randoms(use_true_random=False),
    size=some.integers(1, 6),
)
def test_any_order_and_grouping_tells_the_same(
    town: Town, written: list[list[tuple[int, OutcomeKind, bool]]], copies: int, order: Random, size: int
) -> None:
    results = []
    for shuffled in (False, True):
        town.empty()
        town.crm.send(*(f"p{number}@example.com" for number in range(len(written))))
        with town.database.read() as session:
            rows = session.exec(select(Delivery).order_by(col(Delivery.id))).all()
        all_events = [event for row, history in zip(rows, written, strict=True) for event in events(row, history, town)]
        if shuffled:
            all_events *= copies
            order.shuffle(all_events)
        groups = [all_events[start : start + size] for start in range(0, len(all_events), size)]
        results.append(told(town, groups if shuffled else [[event] for event in all_events], len(written)))
    assert results[1] == results[0]
