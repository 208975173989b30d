"""Dead letters and failures agree one for one, against a real broker."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from crm_api.messages import actions
from crm_api.messages.models import Delivery, DeliveryEntry
from crm_api.messages.states import State
from crm_api.outcomes import store as outcomes
from crm_api.reconciliation.models import Finding, Stranger
from shared.amqp import Publisher, depths, properties, walk_queue
from shared.clock import now
from shared.contracts import OutcomeBatch, OutcomeKind, SendCommand, delivery_key, encode
from shared.topology import COMMANDS, DEAD_LETTERS, DEAD_QUEUE, lane_queue
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.reconciling import Comparing, comparing, queue_all
from tests.support.waiting import eventually

SOON = {"reconcile_seconds": 0.01}  # a dead letter counts as soon as it is older than one turn


def letter(crm: Crm, **outcome: object) -> Delivery:
    """Queued; with an outcome's members, that has come, too."""
    message = crm.send()
    queue_all(crm)
    if outcome:
        with crm.database.write() as session:
            outcomes.apply(session, [outcome_of(crm.delivery(message.id), **outcome)], now())
    return crm.delivery(message.id)


async def publish(made: Comparing, *keys: str, kind: str = SendCommand.TYPE, key: str = "dead.urgent") -> None:
    """Straight into the dead letters, as many as there are keys."""
    publisher: Publisher = made.reconciler._publisher
    for one in keys:
        await publisher.publish(DEAD_LETTERS, key, b'{"a": 1}', properties(kind, one))


async def give_up(made: Comparing, url: str, delivery: Delivery, why: str) -> None:
    """The broker itself dead-letters it: rejected by a consumer, or after twenty returns."""
    publisher: Publisher = made.reconciler._publisher
    key = delivery_key(delivery.id, delivery.generation)
    await publisher.publish(COMMANDS, "send.urgent", b"{}", properties(SendCommand.TYPE, key))
    before = (await depths([url], [DEAD_QUEUE]))[DEAD_QUEUE]

    def play() -> None:
        import pika

        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            for method, _, _ in channel.consume(lane_queue("urgent"), inactivity_timeout=1):  # type: ignore[arg-type]
                if method is None:
                    break
                channel.basic_nack(method.delivery_tag, requeue=why == "delivery_limit")
            channel.cancel()

    await asyncio.to_thread(play)

    async def there() -> bool:
        return (await depths([url], [DEAD_QUEUE]))[DEAD_QUEUE] == before + 1

    await eventually(there, "the broker has given it up")


async def looked_until(made: Comparing, reached: Callable[[], bool], what: str) -> None:
    async def again() -> bool:
        await made.look()
        return await asyncio.to_thread(reached)

    await eventually(again, what)


def findings(crm: Crm) -> list[tuple[str, int]]:
    with crm.database.read() as session:
        return [(row.kind, row.count) for row in session.exec(select(Finding).order_by(Finding.id))]  # type: ignore[arg-type]


async def test_a_dead_letter_without_an_outcome_becomes_failed_with_the_brokers_reason(crm: Crm, amqp_url: str) -> None:
    delivery = await asyncio.to_thread(letter, crm)
    async with comparing(crm, amqp_url, **SOON) as made:
        await give_up(made, amqp_url, delivery, "delivery_limit")

        def failed() -> bool:
            return crm.delivery(delivery.message_id).state == State.failed

        await looked_until(made, failed, "it has failed")
        found = await made.look()
    row, message = crm.delivery(delivery.message_id), crm.message(delivery.message_id)
    assert row.reason
    assert "twenty times" in row.reason
    assert (message.failed, message.queued, message.state) == (1, 0, "failed")
    assert (found.dead, found.failures, found.differences) == (1, 1, 0)
    assert findings(crm) == [("failed", 1)]


async def test_one_that_the_mail_room_rejected_is_asked_about_once(crm: Crm, amqp_url: str) -> None:
    """What it reported was lost: its ledger knows whether it failed or may have been sent."""
    delivery = await asyncio.to_thread(letter, crm)
    async with comparing(crm, amqp_url, **SOON) as made:
        await give_up(made, amqp_url, delivery, "rejected")

        def state(wanted: State) -> Callable[[], bool]:
            return lambda: crm.delivery(delivery.message_id).state == wanted

        await looked_until(made, state(State.pending), "the mail room is asked")
        await asyncio.to_thread(queue_all, crm)
        await made.look()
        assert crm.delivery(delivery.message_id).state == "queued", "its answer is waited for"
        # it rejects it again without a word
        await asyncio.sleep(1.1)  # the broker writes down whole seconds
        await give_up(made, amqp_url, delivery, "rejected")
        await looked_until(made, state(State.failed), "a person decides")
        await looked_until(made, lambda: made.newest().dead == 1, "of the two copies one stays")
    assert [kind for kind, _ in findings(crm)] == ["asked", "failed", "removed"] or [
        kind for kind, _ in findings(crm)
    ] == ["asked", "removed", "failed"]
    with crm.database.read() as session:
        assert [entry.kind for entry in session.exec(select(DeliveryEntry))] == ["asked", "given_up"]


async def test_failures_and_dead_letters_agree_and_nothing_is_done(crm: Crm, amqp_url: str) -> None:
    rows = [await asyncio.to_thread(letter, crm, kind=OutcomeKind.failed) for _ in range(3)]
    async with comparing(crm, amqp_url, **SOON) as made:
        await publish(made, *(delivery_key(row.id, 1) for row in rows))
        found = await made.look()
        assert (found.dead, found.failures, found.differences) == (3, 3, 0)
        assert (await depths([amqp_url], [DEAD_QUEUE]))[DEAD_QUEUE] == 3
    assert findings(crm) == []


async def test_what_is_left_over_or_doubled_is_taken_out(crm: Crm, amqp_url: str) -> None:
    accepted = await asyncio.to_thread(letter, crm, kind=OutcomeKind.accepted)
    failed = await asyncio.to_thread(letter, crm, kind=OutcomeKind.failed)
    again = await asyncio.to_thread(letter, crm, kind=OutcomeKind.failed)

    def retry() -> None:
        with crm.database.write() as session:
            actions.retry(session, crm.settings, again.id, crm.principal)
            # as if the sweeper had looked for an hour
            for removal in session.exec(select(actions.DeadLetterRemoval)):
                session.delete(removal)

    await asyncio.to_thread(retry)
    async with comparing(crm, amqp_url, **SOON) as made:
        keys = [delivery_key(row.id, 1) for row in (accepted, failed, failed, failed, again)]
        await publish(made, *keys)
        await made.look()
        left = await walk_queue([amqp_url], DEAD_QUEUE)
        assert [one.key for one in left] == [delivery_key(failed.id, 1)]
        found = await made.look()
        assert (found.dead, found.failures, found.differences) == (1, 1, 0)
    assert findings(crm) == [("removed", 4)]


async def test_a_failure_whose_dead_letter_is_gone_gets_a_new_one(crm: Crm, amqp_url: str) -> None:
    delivery = await asyncio.to_thread(letter, crm, kind=OutcomeKind.failed)
    async with comparing(crm, amqp_url, **SOON) as made:
        await looked_until(made, lambda: made.newest().dead == 1, "it lies there again")
        found = await made.look()
        assert found.differences == 0
        (dead,) = await walk_queue([amqp_url], DEAD_QUEUE)
        assert (dead.key, dead.type, dead.routing_key) == (delivery_key(delivery.id, 1), "mail.send.v1", "dead.urgent")
    assert findings(crm) == [("put_back", 1)]


async def test_strangers_are_listed_and_counted_until_a_person_removes_them(crm: Crm, amqp_url: str) -> None:
    def strangers() -> list[Any]:
        with crm.database.read() as session:
            return list(session.exec(select(Stranger)))

    async with comparing(crm, amqp_url, **SOON) as made:
        event = encode(OutcomeBatch(()))
        publisher: Publisher = made.reconciler._publisher
        await publisher.publish(DEAD_LETTERS, "dead.event", event, properties(OutcomeBatch.TYPE, "some-event"))
        await publish(made, "01a1fbb9-dc7f-7b58-8f5b-953c220da784.1")
        found = await made.look()
        assert (found.strangers, found.differences) == (2, 2)
        assert {(row.key, row.type, row.size) for row in await asyncio.to_thread(strangers)} == {
            ("some-event", "mail.outcomes.v1", len(event)),
            ("01a1fbb9-dc7f-7b58-8f5b-953c220da784.1", "mail.send.v1", 8),
        }
        assert (await depths([amqp_url], [DEAD_QUEUE]))[DEAD_QUEUE] == 2, "they stay where they are"


@pytest.mark.parametrize("kind", [OutcomeKind.accepted])
async def test_a_copy_that_was_sent_after_all_is_no_failure(crm: Crm, amqp_url: str, kind: OutcomeKind) -> None:
    delivery = await asyncio.to_thread(letter, crm)
    async with comparing(crm, amqp_url, **SOON) as made:
        await give_up(made, amqp_url, delivery, "delivery_limit")
        await looked_until(made, lambda: crm.delivery(delivery.message_id).state == "failed", "it has failed")

        def twin() -> None:
            with crm.database.write() as session:
                outcomes.apply(session, [outcome_of(delivery, kind=kind)], now())

        await asyncio.to_thread(twin)
    assert crm.delivery(delivery.message_id).state == "accepted"
    with crm.database.read() as session:
        removal = session.exec(select(actions.DeadLetterRemoval)).one()
    assert removal.key == delivery_key(delivery.id, 1)
