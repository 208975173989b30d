"""Cancel, retry, discard: the right moment, and a moment too late."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.errors import Conflict, Invalid, NotFound
from crm_api.messages import actions
from crm_api.messages.models import Delivery, Suppression
from crm_api.outbox import store as outbox
from crm_api.outcomes import store as outcomes
from shared.clock import now
from shared.contracts import OutcomeKind, delivery_key
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of


def fail(crm: Crm, delivery: Delivery, **members: object) -> None:
    with crm.database.write() as session:
        outcomes.apply(session, [outcome_of(delivery, **{"kind": OutcomeKind.failed} | members)], now())  # type: ignore[arg-type]


def removals(crm: Crm) -> set[str]:
    with crm.database.read() as session:
        return set(session.exec(select(DeadLetterRemoval.key)))


def test_a_pending_delivery_is_cancelled(crm: Crm) -> None:
    message = crm.send("a@example.com", "b@example.com", undo_seconds=60)
    first, second = crm.deliveries(message.id)
    with crm.database.write() as session:
        assert actions.cancel(session, first.id, crm.principal).state == "cancelled"
    found = crm.message(message.id)
    assert (found.pending, found.cancelled, found.state, found.done_at) == (1, 1, "pending", None)
    with crm.database.write() as session:
        assert actions.cancel_message(session, message.id, crm.principal) == 1
    found = crm.message(message.id)
    assert (found.cancelled, found.state, found.done_at is not None) == (2, "cancelled", True)
    with crm.database.write() as session:
        assert outbox.claim(session, Lane.urgent, now() + timedelta(hours=1), 10) == []
    assert second.state == "pending"


def test_what_the_relay_has_claimed_can_no_longer_be_cancelled(crm: Crm) -> None:
    message = crm.send()
    with crm.database.write() as session:
        assert len(outbox.claim(session, Lane.urgent, now(), 10)) == 1
    delivery = crm.delivery(message.id)
    with pytest.raises(Conflict), crm.database.write() as session:
        actions.cancel(session, delivery.id, crm.principal)
    with pytest.raises(Conflict), crm.database.write() as session:
        actions.cancel_message(session, message.id, crm.principal)
    assert crm.delivery(message.id).state == "pending"


def test_unknown_ids_are_not_found(crm: Crm) -> None:
    for verb in (actions.cancel, actions.discard, actions.cancel_message):
        with pytest.raises(NotFound), crm.database.write() as session:
            verb(session, uuid4(), crm.principal)


def test_a_failed_one_is_sent_again_to_a_new_address(crm: Crm) -> None:
    message = crm.send("old@example.com")
    delivery = crm.delivery(message.id)
    fail(crm, delivery, suppress=True)
    with crm.database.read() as session:
        assert session.get(Suppression, "old@example.com")
    with crm.database.write() as session:
        again = actions.retry(session, crm.settings, delivery.id, crm.principal, "New@Example.com")
    assert (again.state, again.generation, again.attempt, again.address) == ("pending", 2, 0, "New@example.com")
    assert (again.reason, again.done_at, again.queued_at) == (None, None, None)
    assert removals(crm) == {delivery_key(delivery.id, 1)}
    found = crm.message(message.id)
    assert (found.failed, found.pending, found.state, found.done_at) == (0, 1, "pending", None)
    with crm.database.read() as session:
        assert session.get(Suppression, "old@example.com"), "the old address stays as it is"


def test_sending_again_to_the_same_address_lifts_its_suppression(crm: Crm) -> None:
    delivery = crm.delivery(crm.send("old@example.com").id)
    fail(crm, delivery, suppress=True)
    with crm.database.write() as session:
        actions.retry(session, crm.settings, delivery.id, crm.principal)
    with crm.database.read() as session:
        assert session.get(Suppression, "old@example.com") is None


def test_a_bad_new_address_changes_nothing(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    fail(crm, delivery)
    with pytest.raises(Invalid) as caught, crm.database.write() as session:
        actions.retry(session, crm.settings, delivery.id, crm.principal, "nobody")
    assert caught.value.errors[0].field == "address"
    assert crm.delivery(delivery.message_id).state == "failed"
    assert removals(crm) == set()


def test_discard_is_the_end_and_leaves_the_dead_letters(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    fail(crm, delivery)
    with crm.database.write() as session:
        assert actions.discard(session, delivery.id, crm.principal).state == "discarded"
    assert removals(crm) == {delivery_key(delivery.id, 1)}
    with pytest.raises(Conflict), crm.database.write() as session:
        actions.retry(session, crm.settings, delivery.id, crm.principal)


@pytest.mark.parametrize("kind", [OutcomeKind.accepted, OutcomeKind.deferred])
def test_only_what_is_settled_can_be_sent_again(crm: Crm, kind: OutcomeKind) -> None:
    delivery = crm.delivery(crm.send().id)
    fail(crm, delivery, kind=kind)
    for verb in (lambda s: actions.retry(s, crm.settings, delivery.id, crm.principal),
                 lambda s: actions.discard(s, delivery.id, crm.principal)):  # fmt: skip
        with pytest.raises(Conflict), crm.database.write() as session:
            verb(session)


def test_an_unknown_one_that_tries_again_by_itself_is_left_to_it(crm: Crm) -> None:
    delivery = crm.delivery(crm.send().id)
    fail(crm, delivery, kind=OutcomeKind.unknown, next_at=now() + timedelta(minutes=10))
    with pytest.raises(Conflict, match="by itself"), crm.database.write() as session:
        actions.retry(session, crm.settings, delivery.id, crm.principal)
    fail(crm, delivery, kind=OutcomeKind.unknown, attempt=2)
    with crm.database.write() as session:
        assert actions.retry(session, crm.settings, delivery.id, crm.principal).generation == 2
