"""The publisher and the consumer against a real broker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pika
import pytest

from local.rabbitmq import Node
from shared import topology
from shared.amqp import (
    Consumer,
    Delivery,
    LinkDown,
    Nacked,
    Publisher,
    Unroutable,
    properties,
    remove_from_queue,
)
from shared.lanes import Lane
from tests.support.waiting import eventually, wait_until

NORMAL = topology.lane_queue(Lane.normal)
SEND = (topology.COMMANDS, topology.lane_key(Lane.normal))


@pytest.fixture
async def publisher(amqp_url: str) -> AsyncIterator[Publisher]:
    publisher = Publisher([amqp_url], "test publisher")
    await publisher.start()
    await asyncio.wait_for(publisher.wait_connected(), 30)
    yield publisher
    await publisher.close()


def depth(amqp_url: str, queue: str) -> int:
    """Messages ready in the queue, asked of the broker itself."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    count: int = connection.channel().queue_declare(queue, passive=True).method.message_count
    connection.close()
    return count


async def until_depth(amqp_url: str, queue: str, count: int) -> None:
    async def reached() -> bool:
        return await asyncio.to_thread(depth, amqp_url, queue) == count

    await eventually(reached, f"{queue} holds {count}")


async def consuming(urls: list[str], on_delivery: Any, **options: Any) -> Consumer:
    consumer = Consumer(urls, "test consumer", NORMAL, 10, on_delivery, **options)
    await consumer.start()
    await asyncio.wait_for(consumer.wait_connected(), 30)
    return consumer


async def test_a_message_is_confirmed_and_arrives_as_it_was_sent(publisher: Publisher, amqp_url: str) -> None:
    got: asyncio.Queue[Delivery] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        delivery.ack()
        got.put_nowait(delivery)

    consumer = await consuming([amqp_url], take)
    await publisher.publish(*SEND, b"{}", properties("mail.send.v1", "a.0", x_attempt=3, x_none=None))
    delivery = await asyncio.wait_for(got.get(), 30)
    assert (delivery.body, delivery.routing_key, delivery.redelivered) == (b"{}", "send.normal", False)
    assert (delivery.properties.message_id, delivery.properties.type) == ("a.0", "mail.send.v1")
    assert delivery.properties.delivery_mode == 2
    assert delivery.headers == {"x-attempt": 3}
    await consumer.close()
    await until_depth(amqp_url, NORMAL, 0)


async def test_many_at_once_are_all_confirmed(publisher: Publisher, amqp_url: str) -> None:
    await asyncio.gather(*(publisher.publish(*SEND, b"x", properties("t", f"m{number}")) for number in range(2_000)))
    await until_depth(amqp_url, NORMAL, 2_000)


async def test_each_unroutable_one_is_told_apart_by_its_id(publisher: Publisher) -> None:
    async def send(number: int) -> str:
        key = "nowhere" if number % 3 == 0 else SEND[1]
        try:
            await publisher.publish(SEND[0], key, b"x", properties("t", f"m{number}"))
        except Unroutable:
            return "unroutable"
        return "confirmed"

    answers = await asyncio.gather(*(send(number) for number in range(300)))
    assert answers == ["unroutable" if number % 3 == 0 else "confirmed" for number in range(300)]


async def test_two_unroutable_ones_of_one_id_both_fail(publisher: Publisher) -> None:
    sent = [publisher.publish(SEND[0], "nowhere", b"x", properties("t", "same")) for _ in range(2)]
    assert [type(answer) for answer in await asyncio.gather(*sent, return_exceptions=True)] == [Unroutable] * 2


async def test_a_full_queue_refuses(publisher: Publisher, amqp_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection.channel().queue_declare(
        "tiny", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    connection.channel().queue_bind("tiny", topology.COMMANDS, "tiny")
    await publisher.publish(topology.COMMANDS, "tiny", b"x", properties("t", "1"))
    with pytest.raises(Nacked):
        await publisher.publish(topology.COMMANDS, "tiny", b"x", properties("t", "2"))
    connection.close()


async def test_a_message_without_an_id_is_refused(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="message_id"):
        await publisher.publish(*SEND, b"x", pika.BasicProperties())


async def test_publishing_while_down_says_so(amqp_url: str) -> None:
    publisher = Publisher([amqp_url], "never started")
    with pytest.raises(LinkDown):
        await publisher.publish(*SEND, b"x", properties("t", "1"))


def test_a_bad_url_is_refused_at_once_and_its_password_not_said() -> None:
    for url in ("amqp://me:secret@host:port/", "amqp://me@host/", "http://me:secret@host/"):
        with pytest.raises(ValueError, match="Write it like amqp://") as problem:
            Publisher([url], "test")
        assert "secret" not in str(problem.value)


async def test_a_link_found_dead_while_publishing_counts_as_down_at_once(publisher: Publisher) -> None:
    """A loop of "wait for the link, publish" would otherwise spin and let nobody else run, for ever."""
    assert publisher._channel is not None
    publisher._channel.raw.close()  # as after a reset: pika knows, and nobody has been told yet
    with pytest.raises(LinkDown):
        await publisher.publish(*SEND, b"x", properties("t", "1"))
    assert not publisher.connected
    await asyncio.wait_for(publisher.wait_connected(), 30)
    await publisher.publish(*SEND, b"x", properties("t", "1"))


async def test_an_exchange_deleted_under_the_publisher_comes_back(publisher: Publisher, amqp_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection.channel().exchange_delete(topology.EVENTS)
    connection.close()
    with pytest.raises(LinkDown):
        await publisher.publish(topology.EVENTS, topology.OUTCOME_KEY, b"x", properties("t", "1"))
    await asyncio.wait_for(publisher.wait_connected(), 30)
    await publisher.publish(topology.EVENTS, topology.OUTCOME_KEY, b"x", properties("t", "1"))


async def test_a_queue_deleted_under_the_publisher_is_declared_again(publisher: Publisher, amqp_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection.channel().queue_delete(NORMAL)
    connection.close()
    with pytest.raises(Unroutable):
        await publisher.publish(*SEND, b"x", properties("t", "1"))
    await publisher.declare_again(*SEND)
    await publisher.publish(*SEND, b"x", properties("t", "1"))


@pytest.mark.usefixtures("short_pauses")
async def test_a_killed_broker_is_found_again_and_nothing_confirmed_is_lost(rabbitmq: Node, amqp_url: str) -> None:
    publisher = Publisher([amqp_url], "test publisher")
    await publisher.start()
    await asyncio.wait_for(publisher.wait_connected(), 30)
    await publisher.publish(*SEND, b"before", properties("t", "before"))
    await asyncio.to_thread(rabbitmq.kill)
    with pytest.raises(LinkDown):
        await asyncio.wait_for(publisher.publish(*SEND, b"during", properties("t", "during")), 30)
    got: asyncio.Queue[str] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        delivery.ack()
        got.put_nowait(delivery.properties.message_id)

    consumer = Consumer(["amqp://nobody:x@127.0.0.1:9/", amqp_url], "test consumer", NORMAL, 10, take)
    await consumer.start()  # while there is no broker, and with a first URL that is no good
    await asyncio.to_thread(rabbitmq.start)
    await asyncio.wait_for(publisher.wait_connected(), 60)
    await publisher.publish(*SEND, b"after", properties("t", "after"))
    assert await asyncio.wait_for(got.get(), 60) == "before"
    while await asyncio.wait_for(got.get(), 30) != "after":
        pass
    await consumer.close()
    await publisher.close()


async def test_a_failing_callback_returns_its_message_and_hurts_nobody_else(
    publisher: Publisher, amqp_url: str
) -> None:
    got: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        got.put_nowait((delivery.properties.message_id, delivery.redelivered))
        if delivery.properties.message_id == "bad" and not delivery.redelivered:
            raise RuntimeError("on purpose")
        delivery.ack()

    consumer = await consuming([amqp_url], take)
    for name in ("bad", "good"):
        await publisher.publish(*SEND, b"x", properties("t", name))
    seen = [await asyncio.wait_for(got.get(), 30) for _ in range(3)]
    assert seen == [("bad", False), ("good", False), ("bad", True)]
    await consumer.close()
    await until_depth(amqp_url, NORMAL, 0)


async def test_a_queue_deleted_under_its_consumer_is_consumed_again(publisher: Publisher, amqp_url: str) -> None:
    got: asyncio.Queue[str] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        delivery.ack()
        got.put_nowait(delivery.properties.message_id)

    consumer = await consuming([amqp_url], take)
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection.channel().queue_delete(NORMAL)
    connection.close()

    async def published() -> bool:
        try:
            await publisher.publish(*SEND, b"x", properties("t", "after"))
        except Unroutable:
            return False
        return True

    await eventually(published, "the queue is back")
    assert await asyncio.wait_for(got.get(), 30) == "after"
    await consumer.close()


async def test_a_channel_closed_by_the_broker_is_opened_again(publisher: Publisher, amqp_url: str) -> None:
    got: asyncio.Queue[Delivery] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        got.put_nowait(delivery)

    consumer = await consuming([amqp_url], take)
    await publisher.publish(*SEND, b"x", properties("t", "1"))
    first = await asyncio.wait_for(got.get(), 30)
    first._channel.basic_ack(999)  # the broker closes a channel for an unknown tag
    again = await asyncio.wait_for(got.get(), 30)
    assert again.redelivered
    first.ack()  # its channel is dead: must not touch the new one's tags
    again.ack()
    again.ack()
    await consumer.close()
    await until_depth(amqp_url, NORMAL, 0)


async def test_after_stop_consuming_nothing_new_starts_and_what_runs_can_be_acked(
    publisher: Publisher, amqp_url: str
) -> None:
    started: list[str] = []
    go_on = asyncio.Event()

    async def take(delivery: Delivery) -> None:
        started.append(delivery.properties.message_id)
        await go_on.wait()
        delivery.ack()

    consumer = await consuming([amqp_url], take)
    await publisher.publish(*SEND, b"x", properties("t", "first"))
    await asyncio.to_thread(wait_until, lambda: started, "the first began")
    await consumer.stop_consuming()
    await publisher.publish(*SEND, b"x", properties("t", "second"))
    go_on.set()
    await consumer.idle()
    assert started == ["first"]
    await until_depth(amqp_url, NORMAL, 1)
    consumer.consume_again()
    await until_depth(amqp_url, NORMAL, 0)
    assert started == ["first", "second"]
    await consumer.close()


async def test_closing_gives_unfinished_messages_back(publisher: Publisher, amqp_url: str) -> None:
    started = asyncio.Event()

    async def take(_: Delivery) -> None:
        started.set()
        await asyncio.Event().wait()

    consumer = await consuming([amqp_url], take)
    await publisher.publish(*SEND, b"x", properties("t", "1"))
    await asyncio.wait_for(started.wait(), 30)
    await consumer.close()
    await until_depth(amqp_url, NORMAL, 1)


async def test_heartbeats_are_heard_through_a_queue_of_its_own(publisher: Publisher, amqp_url: str) -> None:
    got: asyncio.Queue[Delivery] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        delivery.ack()
        got.put_nowait(delivery)

    consumer = await consuming([amqp_url], take, control_key=topology.HEARTBEAT_KEY)
    await publisher.publish(topology.CONTROL, topology.HEARTBEAT_KEY, b"beat", properties("t", "1"))
    assert (await asyncio.wait_for(got.get(), 30)).queue == ""
    await consumer.close()


async def test_the_wanted_dead_letters_are_taken_and_the_rest_stays(publisher: Publisher, amqp_url: str) -> None:
    for number in range(60):
        await publisher.publish(topology.DEAD_LETTERS, "dead.normal", b"x", properties("t", f"m{number}"))
    wanted = {f"m{number}" for number in range(0, 60, 2)}
    removed = await remove_from_queue([amqp_url], topology.DEAD_QUEUE, wanted | {"never there"})
    assert removed == wanted
    await until_depth(amqp_url, topology.DEAD_QUEUE, 30)
    assert await remove_from_queue([amqp_url], topology.DEAD_QUEUE, wanted) == set()
    await until_depth(amqp_url, topology.DEAD_QUEUE, 30)


async def test_removing_while_the_broker_is_away_says_so() -> None:
    with pytest.raises(LinkDown):
        await remove_from_queue(["amqp://nobody:x@127.0.0.1:9/"], topology.DEAD_QUEUE, {"m"})
