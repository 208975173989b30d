"""The relay against a real broker: out in order, nothing lost while the broker is away, nothing after a cancel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from crm_api.changes import ChangeFeed
from crm_api.errors import Conflict
from crm_api.messages import actions
from crm_api.outbox import store
from crm_api.outbox.relay import Relay
from crm_api.writer import Writer
from local.rabbitmq import Node
from shared.amqp import Consumer, Delivery, Publisher
from shared.clock import now
from shared.contracts import SendCommand, decode
from shared.lanes import Lane
from shared.topology import lane_queue
from tests.support.crm import Crm
from tests.support.waiting import eventually


class Mailroom:
    """Takes commands off the lane queues and keeps them."""

    def __init__(self) -> None:
        self.commands: list[SendCommand] = []

    async def take(self, delivery: Delivery) -> None:
        command = decode(delivery.properties.type, delivery.body)
        assert isinstance(command, SendCommand)
        assert delivery.properties.message_id == command.key
        self.commands.append(command)
        delivery.ack()


@asynccontextmanager
async def running(crm: Crm, url: str, lane: Lane = Lane.urgent, most: int | None = None) -> AsyncIterator[Publisher]:
    writer, feed, publisher = Writer(crm.database), ChangeFeed(crm.database.url), Publisher([url], "test relay")
    await feed.start()
    await publisher.start()
    relay = Relay(lane, writer, publisher, feed, most)
    task = asyncio.create_task(relay.run())
    try:
        yield publisher
    finally:
        relay.stop()
        await task
        await publisher.close()
        await feed.close()
        writer.close()


@asynccontextmanager
async def mailroom(url: str, lane: Lane = Lane.urgent) -> AsyncIterator[Mailroom]:
    room = Mailroom()
    consumer = Consumer([url], "test room", lane_queue(lane), 100, room.take)
    await consumer.start()
    try:
        yield room
    finally:
        await consumer.stop_consuming()
        await consumer.close()


def all_in(crm: Crm, message_id: object, state: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        rows = await asyncio.to_thread(crm.deliveries, message_id)  # type: ignore[arg-type]
        return {row.state for row in rows} == {state}

    return check


async def test_commands_carry_the_whole_letter(crm: Crm, amqp_url: str) -> None:
    customer = crm.customer()
    async with running(crm, amqp_url), mailroom(amqp_url) as room:
        message = crm.send(
            to=[{"customer_id": customer.id}],
            text=None,
            markdown="Dear {{ first_name }}",
            reply_to="ida@example.com",
            attachments=[{"filename": "a.txt", "content": "YQ=="}],
        )
        await eventually(all_in(crm, message.id, "queued"), "the delivery is queued")

        async def came() -> bool:
            return bool(room.commands)

        await eventually(came, "the command is in the lane queue")
    (command,) = room.commands
    delivery = crm.delivery(message.id)
    assert (command.delivery, command.generation, command.message) == (delivery.id, 1, message.id)
    assert (command.to.address, command.to.name, command.fields) == (
        "ada@example.com",
        "Ada Byron",
        {"first_name": "Ada"},
    )
    assert (command.subject, command.text, command.reply_to) == (
        "Saplings",
        "Dear {{ first_name }}\n",
        "ida@example.com",
    )
    assert command.message_id == f"<{delivery.id}.1@posthaste.example>"
    assert [(file.filename, file.size) for file in command.attachments] == [("a.txt", 1)]
    assert delivery.queued_at is not None
    assert delivery.claimed_until is None


@pytest.mark.usefixtures("short_pauses")
async def test_what_waits_goes_out_when_the_broker_is_back(crm: Crm, rabbitmq: Node, amqp_url: str) -> None:
    async with running(crm, amqp_url) as publisher:
        await publisher.wait_connected()
        await asyncio.to_thread(rabbitmq.kill)
        message = await asyncio.to_thread(crm.send, *(f"r{n}@example.com" for n in range(20)))

        async def link_is_down() -> bool:
            return not publisher.connected

        await eventually(link_is_down, "the link is known to be down")
        await asyncio.to_thread(rabbitmq.start)
        await eventually(all_in(crm, message.id, "queued"), "all are queued after the broker is back", seconds=60)
        async with mailroom(amqp_url) as room:

            async def all_came() -> bool:
                return len({command.delivery for command in room.commands}) == 20

            await eventually(all_came, "every command is in the queue")


async def test_a_database_that_does_not_answer_ends_no_relay(
    crm: Crm, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its questions that happens to."""
    troubled = set[str]()

    def once(name: str, usual: Callable[..., object]) -> Callable[..., object]:
        def trouble(*arguments: object) -> object:
            if name not in troubled:
                troubled.add(name)
                raise OperationalError(name, None, Exception("database is locked"))
            return usual(*arguments)

        return trouble

    for name in ("claim", "next_due"):
        monkeypatch.setattr(store, name, once(name, getattr(store, name)))
    async with running(crm, amqp_url):

        async def both() -> bool:
            return troubled == {"claim", "next_due"}

        await eventually(both, "the relay to have asked both")
        message = await asyncio.to_thread(crm.send, "ida@example.com")
        await eventually(all_in(crm, message.id, "queued"), "the letter to leave all the same")


async def test_a_letter_is_never_cancelled_and_sent(crm: Crm, amqp_url: str) -> None:
    """Cancels race against the relay: what was cancelled is never in the queue, what was not is."""
    async with running(crm, amqp_url), mailroom(amqp_url) as room:
        cancelled, kept = set(), set()
        for _ in range(30):
            message = await asyncio.to_thread(crm.send)
            delivery = await asyncio.to_thread(crm.delivery, message.id)

            def cancel(delivery_id: object = delivery.id) -> bool:
                try:
                    with crm.database.write() as session:
                        actions.cancel(session, delivery_id, crm.principal)  # type: ignore[arg-type]
                except Conflict:
                    return False
                return True

            (cancelled if await asyncio.to_thread(cancel) else kept).add(delivery.id)

        async def kept_came() -> bool:
            return {command.delivery for command in room.commands} >= kept

        await eventually(kept_came, "what was not cancelled goes out")
    assert not cancelled & {command.delivery for command in room.commands}


async def test_nothing_leaves_before_it_is_due(crm: Crm, amqp_url: str) -> None:
    async with running(crm, amqp_url), mailroom(amqp_url) as room:
        later = crm.send("later@example.com", send_at=now() + timedelta(hours=1))
        soon = crm.send("soon@example.com", undo_seconds=1)
        await eventually(all_in(crm, soon.id, "queued"), "the one that is due goes")
        assert crm.delivery(later.id).state == "pending"
        queued_at = crm.delivery(soon.id).queued_at
        assert queued_at is not None
        assert soon.undo_until is not None
        assert queued_at >= soon.undo_until
    assert {command.to.address for command in room.commands} <= {"soon@example.com"}


async def test_only_so_many_of_a_mailing_lie_in_the_broker(crm: Crm, amqp_url: str) -> None:
    async with running(crm, amqp_url, Lane.bulk, most=32):  # batches are a quarter of it, and full ones
        message = crm.send(*(f"r{n}@example.com" for n in range(100)), lane="bulk")

        async def full() -> bool:
            return (await asyncio.to_thread(crm.message, message.id)).queued >= 32

        await eventually(full, "the broker holds as many as it may")
    found = crm.message(message.id)
    assert (found.queued, found.pending) == (32, 68)


async def test_a_deleted_queue_is_declared_again(crm: Crm, rabbitmq: Node, amqp_url: str) -> None:
    async with running(crm, amqp_url) as publisher:
        await publisher.wait_connected()
        vhost = amqp_url.rsplit("/", 1)[1]
        await asyncio.to_thread(rabbitmq.management.delete, "queues", vhost, lane_queue(Lane.urgent))
        message = crm.send()
        await eventually(all_in(crm, message.id, "queued"), "it goes out through the queue declared again")


async def test_a_queue_deleted_under_its_consumer_is_consumed_again(crm: Crm, rabbitmq: Node, amqp_url: str) -> None:
    """A queue that is there again at once keeps its consumers: RabbitMQ tells them nothing, and gives them nothing."""
    async with running(crm, amqp_url), mailroom(amqp_url) as room:
        for number in range(3):
            crm.send(f"before{number}@example.com")

        async def taken(count: int) -> bool:
            return len({each.to.address for each in room.commands}) == count

        await eventually(lambda: taken(3), "the first letters")
        vhost = amqp_url.rpartition("/")[2]
        await asyncio.to_thread(rabbitmq.management.delete, "queues", vhost, lane_queue(Lane.urgent))
        crm.send("after@example.com")
        await eventually(lambda: taken(4), "the letter that came after")


def test_a_claim_that_ran_out_is_taken_again(crm: Crm) -> None:
    message = crm.send()
    with crm.database.write() as session:
        (first,) = store.claim(session, Lane.urgent, now(), 10)
    with crm.database.write() as session:
        assert store.claim(session, Lane.urgent, now(), 10) == []
    with crm.database.write() as session:
        (again,) = store.claim(session, Lane.urgent, now() + store.LEASE, 10)
    assert first.id == again.id == crm.delivery(message.id).id


@pytest.mark.parametrize("certain", [True, False])
def test_what_the_broker_may_have_cannot_be_cancelled(crm: Crm, certain: bool) -> None:
    message = crm.send()
    with crm.database.write() as session:
        claimed = store.claim(session, Lane.urgent, now(), 10)
        store.release(session, claimed, certain, now())
    if certain:
        with crm.database.write() as session:
            assert actions.cancel_message(session, message.id, crm.principal) == 1
        return
    with pytest.raises(Conflict), crm.database.write() as session:
        actions.cancel_message(session, message.id, crm.principal)
    with crm.database.write() as session:
        assert len(store.claim(session, Lane.urgent, now(), 10)) == 1, "it is published again at once"
