"""RabbitMQ as the product uses it: a publisher that confirms, a consumer that survives, both on asyncio.

Use one connection to publish and another to consume: while an alarm blocks a publishing connection the broker
does not read the acks on it either.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import pika
from pika import BasicProperties
from pika.exceptions import AMQPError

from shared import broker_alarms
from shared.alarms import Alarms
from shared.amqp_consumer import Consumer, Delivery
from shared.amqp_link import (
    AccessRefused,
    AmqpProblem,
    Channel,
    Connection,
    Link,
    LinkDown,
    Nacked,
    NotThere,
    Unroutable,
    declare_topology,
    first_of,
)
from shared.amqp_walk import Found, depths, key_of, remove_from_queue, walk_queue

__all__ = [
    "AccessRefused",
    "AmqpProblem",
    "Consumer",
    "Delivery",
    "Found",
    "LinkDown",
    "Nacked",
    "NotThere",
    "Publisher",
    "Unroutable",
    "depths",
    "key_of",
    "properties",
    "remove_from_queue",
    "walk_queue",
]

log = logging.getLogger("amqp")

WINDOW = 500  # unconfirmed publishes; more gains nothing and costs memory
CONFIRM_SECONDS = 2  # how long close() waits for confirms under way

_Tell = Callable[[AmqpProblem | None], None]


def properties(kind: str, message_id: str, *, expiration_ms: int | None = None, **headers: Any) -> BasicProperties:
    """Properties of a durable JSON message; x_attempt=2 becomes the header `x-attempt`, None is left out."""
    return BasicProperties(
        type=kind,
        message_id=message_id,
        content_type="application/json",
        delivery_mode=2,
        timestamp=int(time.time()),
        expiration=None if expiration_ms is None else str(max(0, expiration_ms)),
        headers={name.replace("_", "-"): value for name, value in headers.items() if value is not None},
    )


class Publisher:
    """Publishes with confirms and `mandatory`, on a connection of its own that is kept up."""

    def __init__(self, urls: list[str], name: str, window: int = WINDOW, alarms: Alarms | None = None) -> None:
        """alarms: where it is said that a queue is missing and may not be made."""
        self.blocked = False
        self._alarms = alarms or Alarms()
        self._missing: set[str] = set()
        self._link = Link(urls, name, self._use)
        self._window = asyncio.Semaphore(window)
        self._up = asyncio.Event()
        self._channel: Channel | None = None
        self._next_tag = 1
        self._unconfirmed: dict[int, tuple[str, _Tell]] = {}  # by publish number, oldest first: (message_id, …)
        self._all_confirmed = asyncio.Event()
        self._returned: Counter[str] = Counter()  # message_ids whose Return came and whose ack has not yet

    async def start(self) -> None:
        """Returns at once; connects in the background."""
        self._link.start()

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    async def wait_connected(self) -> None:
        await self._up.wait()

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: BasicProperties) -> None:
        """Returns once the broker has confirmed the message; raises Unroutable, Nacked or LinkDown."""
        (problem,) = await self.publish_many(exchange, routing_key, [(body, properties)])
        if problem is not None:
            raise problem

    async def publish_many(
        self, exchange: str, routing_key: str, messages: Sequence[tuple[bytes, BasicProperties]]
    ) -> list[AmqpProblem | None]:
        """Publishes them in this order, returns when the broker has answered for all: None for a confirmed one."""
        batch = _Batch(len(messages))
        for number, (body, properties) in enumerate(messages):
            if not properties.message_id:
                raise ValueError("a message needs a message_id: a Return is told apart by it")
            await self._window.acquire()
            self._send(exchange, routing_key, body, properties, partial(batch.tell, number))
        answers = await batch.answers()
        if self._missing and None in answers:
            self._gets_there(exchange, routing_key)
        return answers

    def _send(self, exchange: str, routing_key: str, body: bytes, properties: BasicProperties, tell: "_Tell") -> None:
        """Takes a place in the window, which is free again when `tell` is called."""
        channel = self._channel
        if channel is None:
            self._window.release()
            tell(LinkDown("not connected"))
            return
        properties.delivery_mode = 2
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._unconfirmed[tag] = properties.message_id, tell
        try:
            channel.raw.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        except AMQPError as problem:
            # The link is lost and _use has not had its turn to see it. Who waits for it and tries again must
            # really wait: otherwise that loop never lets anybody else run, _use included.
            self._up.clear()
            self._channel = None
            self._answer(tag, LinkDown(str(problem)))

    def _answer(self, tag: int, problem: AmqpProblem | None) -> None:
        message_id, tell = self._unconfirmed.pop(tag)
        if problem is None and self._returned and self._returned[message_id]:
            self._returned[message_id] -= 1
            problem = Unroutable("no queue is bound for this message")
        self._window.release()
        tell(problem)
        if not self._unconfirmed:
            self._all_confirmed.set()

    async def declare_again(self, exchange: str, routing_key: str) -> None:
        """For Unroutable: somebody deleted the queue or binding. Raises LinkDown.

        A user that may not raises AccessRefused and an alarm, which a message that gets there clears.
        """
        if self._channel is None:
            raise LinkDown("not connected")
        channel = await Channel.open(self._connection)
        try:
            await declare_topology(channel)
        except AccessRefused:
            queue = broker_alarms.queue_behind(exchange, routing_key)
            self._missing.add(queue)
            broker_alarms.queue_is_missing(self._alarms, queue)
            raise
        finally:
            await channel.close()

    def _gets_there(self, exchange: str, routing_key: str) -> None:
        queue = broker_alarms.queue_behind(exchange, routing_key)
        if queue in self._missing:
            self._missing.discard(queue)
            broker_alarms.queue_is_there(self._alarms, queue)

    async def close(self) -> None:
        """Waits a moment for confirms that are under way; what is unconfirmed then ends with LinkDown."""
        if self._unconfirmed and self.connected and not self.blocked:
            self._all_confirmed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await self._all_confirmed.wait()
        await self._link.close()

    async def _use(self, connection: Connection) -> None:
        channel = await Channel.open(connection)
        channel.raw.add_on_return_callback(self._on_return)
        connection.raw.add_on_connection_blocked_callback(lambda *_: self._on_blocked(True))
        connection.raw.add_on_connection_unblocked_callback(lambda *_: self._on_blocked(False))
        await channel.do("confirm_delivery", ack_nack_callback=self._on_confirm)
        self._connection, self._channel, self._next_tag = connection, channel, 1
        self._up.set()
        try:
            # publishing to an exchange that was deleted closes the channel: start afresh then too
            await first_of(channel.closed, connection.closed)
            done = channel.closed if channel.closed.done() else connection.closed
            raise LinkDown(str(done.result()))
        finally:
            self._up.clear()
            self._channel, self.blocked = None, False
            self._returned.clear()
            for tag in list(self._unconfirmed):
                self._answer(tag, LinkDown("the link was lost before the broker confirmed"))

    def _on_blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        log.warning("RabbitMQ is in alarm and takes nothing" if blocked else "RabbitMQ takes messages again")

    def _on_return(self, _channel: Any, _method: Any, returned: BasicProperties, _body: bytes) -> None:
        self._returned[returned.message_id] += 1  # its ack follows and ends the wait

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        confirmed = isinstance(method, pika.spec.Basic.Ack)
        problem = None if confirmed else Nacked("the broker refused the message")
        if not method.multiple:
            if method.delivery_tag in self._unconfirmed:
                self._answer(method.delivery_tag, problem)
            return
        for tag in list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed)):
            self._answer(tag, problem)


class _Batch:
    """Gathers what became of several messages."""

    def __init__(self, size: int) -> None:
        self._answers: list[AmqpProblem | None] = [None] * size
        self._left = size
        self._complete = asyncio.Event()

    def tell(self, number: int, problem: AmqpProblem | None) -> None:
        self._answers[number] = problem
        self._left -= 1
        if not self._left:
            self._complete.set()

    async def answers(self) -> list[AmqpProblem | None]:
        if self._left:
            await self._complete.wait()
        return self._answers
