"""Events become states; repeated, late, shuffled and foreign ones are harmless; the sums always add up."""

import random
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages.models import Attempt, Delivery, Message, Suppression
from crm_api.messages.states import State
from crm_api.outbox import store as outbox
from crm_api.outcomes import store
from shared.clock import now
from shared.contracts import AttemptStarted, Outcome, OutcomeKind
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of


def apply(crm: Crm, *outcomes: Outcome) -> None:
    with crm.database.write() as session:
        store.apply(session, list(outcomes), now())


def assert_sums(crm: Crm) -> None:
    with crm.database.read() as session:
        for message in session.scalars(select(Message)):
            rows = session.execute(
                select(Delivery.state, func.count())
                .where(col(Delivery.message_id) == message.id)
                .group_by(col(Delivery.state))
            )
            assert {state: getattr(message, state) for state in State if getattr(message, state)} == dict(rows.all())  # type: ignore[arg-type]
            assert message.planned == sum(getattr(message, state) for state in State)


def test_accepted_is_recorded_with_its_conversation(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, queue_id="4F7k", reply="Ok: queued as 4F7k"))
    found, message = crm.delivery(delivery.message_id), crm.message(delivery.message_id)
    assert (found.state, found.attempt, found.queue_id, found.code) == ("accepted", 1, "4F7k", 250)
    assert found.done_at is not None
    assert (message.state, message.accepted, message.pending, message.done_at is not None) == ("accepted", 1, 0, True)
    with crm.database.read() as session:
        attempt = session.get(Attempt, (delivery.id, 1, 1))
        assert attempt is not None
        assert attempt.talk[1] == {"ms": 9, "who": "them", "text": "250 ok"}
        assert (attempt.kind, attempt.worker) == ("accepted", "north/1")


def test_an_outcome_may_overtake_the_mark(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
    apply(crm, outcome_of(delivery))
    with crm.database.write() as session:
        outbox.mark_queued(session, claimed, now())
    found = crm.delivery(delivery.message_id)
    assert (found.state, found.claimed_until) == ("accepted", None)
    assert found.queued_at is not None
    assert_sums(crm)


def test_three_copies_in_any_order_count_once(crm: Crm) -> None:
    message = crm.send(*(f"r{n}@example.com" for n in range(6)))
    events = []
    for number, delivery in enumerate(crm.deliveries(message.id)):
        events += [
            outcome_of(delivery, attempt=attempt, kind=OutcomeKind.deferred, next_at=now())
            for attempt in range(1, number + 1)
        ]
        events.append(outcome_of(delivery, attempt=number + 1))
    events *= 3
    random.Random(7).shuffle(events)
    for start in range(0, len(events), 5):
        apply(crm, *events[start : start + 5])
        assert_sums(crm)
    found = crm.message(message.id)
    assert (found.accepted, found.state) == (6, "accepted")
    with crm.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == sum(range(1, 7))


def test_unknown_that_turns_out_accepted_leaves_the_dead_letters(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, kind=OutcomeKind.unknown, reason="The worker ended."))
    apply(crm, outcome_of(delivery, reason="Taken."))
    assert crm.delivery(delivery.message_id).state == "accepted"
    with crm.database.read() as session:
        attempt = session.get(Attempt, (delivery.id, 1, 1))
        assert attempt is not None
        assert (attempt.kind, attempt.reason) == ("accepted", "Taken.")
        assert session.get(DeadLetterRemoval, f"{delivery.id}.1") is not None
    assert_sums(crm)


def test_accepted_may_come_before_the_unknown_that_it_corrects(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, reason="Taken."))
    apply(crm, outcome_of(delivery, kind=OutcomeKind.unknown, reason="The worker ended."))
    assert crm.delivery(delivery.message_id).state == "accepted"
    with crm.database.read() as session:
        assert session.get(DeadLetterRemoval, f"{delivery.id}.1") is not None


def test_unknown_and_accepted_in_one_group_are_kept_as_accepted(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, kind=OutcomeKind.unknown), outcome_of(delivery, reason="Taken."))
    assert crm.delivery(delivery.message_id).state == "accepted"
    with crm.database.read() as session:
        attempt = session.get(Attempt, (delivery.id, 1, 1))
        assert attempt is not None
        assert (attempt.kind, attempt.reason) == ("accepted", "Taken.")


def test_unknown_that_is_tried_again_is_in_no_dead_letter_queue(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, kind=OutcomeKind.unknown, next_at=now()))
    apply(crm, outcome_of(delivery, attempt=2))
    with crm.database.read() as session:
        assert session.get(DeadLetterRemoval, f"{delivery.id}.1") is None


def test_a_deferral_says_why_and_when_next(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    at = now() + timedelta(seconds=30)
    apply(crm, outcome_of(delivery, kind=OutcomeKind.deferred, reason="Greylisted.", next_at=at, code=451))
    found, message = crm.delivery(delivery.message_id), crm.message(delivery.message_id)
    assert (found.state, found.reason, found.next_at, found.done_at) == ("deferred", "Greylisted.", at, None)
    assert (message.state, message.done_at) == ("deferred", None)


def test_an_older_generation_is_kept_as_history_only(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    late = outcome_of(delivery, generation=0)
    apply(crm, late)
    assert crm.delivery(delivery.message_id).state == "pending"
    with crm.database.read() as session:
        assert session.get(Attempt, (delivery.id, 0, 1)) is not None


def test_an_outcome_of_nothing_we_know_is_dropped(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    apply(crm, outcome_of(delivery, delivery=uuid4()), outcome_of(delivery))
    assert crm.delivery(delivery.message_id).state == "accepted"


def test_a_dead_address_is_suppressed(crm: Crm) -> None:
    delivery = crm.delivery(crm.send("gone@example.com").id)
    apply(crm, outcome_of(delivery, kind=OutcomeKind.failed, suppress=True, reason="There is no such mailbox."))
    apply(crm, outcome_of(delivery, kind=OutcomeKind.failed, suppress=True))
    with crm.database.read() as session:
        found = session.get(Suppression, "gone@example.com")
        assert found is not None
        assert found.reason.startswith("There is no such mailbox.")


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind is not OutcomeKind.failed])
def test_an_address_is_not_given_up_for_what_may_still_arrive(crm: Crm, kind: OutcomeKind) -> None:
    delivery = crm.delivery(crm.send("ida@example.com").id)
    apply(crm, outcome_of(delivery, kind=kind, suppress=True))
    with crm.database.read() as session:
        assert session.get(Suppression, "ida@example.com") is None


def test_a_started_attempt_shows_until_its_outcome_comes(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    started = AttemptStarted(delivery.id, 1, 1, "north/2", "north.example", now())
    with crm.database.write() as session:
        store.begin(session, [started])
    with crm.database.read() as session:
        attempt = session.get(Attempt, (delivery.id, 1, 1))
        assert attempt is not None
        assert (attempt.kind, attempt.worker) == (None, "north/2")
    apply(crm, outcome_of(delivery, worker="north/2"))
    with crm.database.write() as session:
        store.begin(session, [started])  # shuffled: it comes after the outcome
    with crm.database.read() as session:
        attempt = session.get(Attempt, (delivery.id, 1, 1))
        assert attempt is not None
        assert attempt.kind == "accepted"


def test_a_batch_costs_the_same_statements_however_many_it_holds(crm: Crm) -> None:
    from tests.support.statements import counted

    costs = []
    for size in (5, 50):
        message = crm.send(*(f"r{n}@example.com" for n in range(size)))
        events = [outcome_of(delivery) for delivery in crm.deliveries(message.id)]
        with counted(crm.database) as statements:
            apply(crm, *events)
        costs.append(len(statements))
    assert costs[0] == costs[1], costs
