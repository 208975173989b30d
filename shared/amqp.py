"""RabbitMQ as the product uses it: a publisher that confirms, a consumer that survives, both on asyncio.

Use one connection to publish and another to consume: while an alarm blocks a publishing connection the broker
does not read the acks on it either.
"""

import asyncio
import logging
import time
from collections import Counter
from typing import Any

import pika
from pika import BasicProperties
from pika.exceptions import AMQPError

from shared.amqp_consumer import Consumer, Delivery, remove_from_queue
from shared.amqp_link import (
    AmqpProblem,
    Channel,
    Connection,
    Link,
    LinkDown,
    Nacked,
    Unroutable,
    declare_topology,
    first_of,
)

__all__ = [
    "AmqpProblem",
    "Consumer",
    "Delivery",
    "LinkDown",
    "Nacked",
    "Publisher",
    "Unroutable",
    "properties",
    "remove_from_queue",
]

log = logging.getLogger("amqp")

WINDOW = 500  # unconfirmed publishes; more gains nothing and costs memory
CONFIRM_SECONDS = 2  # how long close() waits for confirms under way


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

    def __init__(self, urls: list[str], name: str, window: int = WINDOW) -> None:
        self.blocked = False
        self._link = Link(urls, name, self._use)
        self._window = asyncio.Semaphore(window)
        self._up = asyncio.Event()
        self._channel: Channel | None = None
        self._next_tag = 1
        # by publish number, oldest first: (message_id, who waits)
        self._unconfirmed: dict[int, tuple[str, asyncio.Future[None]]] = {}
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
        if not properties.message_id:
            raise ValueError("a message needs a message_id: a Return is told apart by it")
        properties.delivery_mode = 2
        async with self._window:
            channel = self._channel
            if channel is None:
                raise LinkDown("not connected")
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            tag, self._next_tag = self._next_tag, self._next_tag + 1
            self._unconfirmed[tag] = (properties.message_id, waiter)
            try:
                channel.raw.basic_publish(exchange, routing_key, body, properties, mandatory=True)
            except AMQPError as problem:
                self._unconfirmed.pop(tag, None)
                # The link is lost and _use has not had its turn to see it. Who waits for it and tries again must
                # really wait: otherwise that loop never lets anybody else run, _use included.
                self._up.clear()
                self._channel = None
                raise LinkDown(str(problem)) from problem
            await waiter

    async def declare_again(self) -> None:
        """For Unroutable: somebody deleted a queue or binding. Raises LinkDown."""
        if self._channel is None:
            raise LinkDown("not connected")
        channel = await Channel.open(self._connection)
        try:
            await declare_topology(channel)
        finally:
            await channel.close()

    async def close(self) -> None:
        """Waits a moment for confirms that are under way; what is unconfirmed then ends with LinkDown."""
        waiters = [waiter for _, waiter in self._unconfirmed.values()]
        if waiters and self.connected and not self.blocked:
            await asyncio.wait(waiters, timeout=CONFIRM_SECONDS)
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
            waiting, self._unconfirmed = self._unconfirmed, {}
            self._returned.clear()
            for _, waiter in waiting.values():
                if not waiter.done():
                    waiter.set_exception(LinkDown("the link was lost before the broker confirmed"))

    def _on_blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        log.warning("RabbitMQ is in alarm and takes nothing" if blocked else "RabbitMQ takes messages again")

    def _on_return(self, _channel: Any, _method: Any, returned: BasicProperties, _body: bytes) -> None:
        self._returned[returned.message_id] += 1  # its ack follows and ends the wait

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        confirmed = isinstance(method, pika.spec.Basic.Ack)
        if method.multiple:
            tags = [tag for tag in self._unconfirmed if tag <= method.delivery_tag]
        else:
            tags = [method.delivery_tag]
        for tag in tags:
            message_id, waiter = self._unconfirmed.pop(tag, ("", None))
            if waiter is None:
                continue
            problem: AmqpProblem | None = None
            if not confirmed:
                problem = Nacked("the broker refused the message")
            elif self._returned and self._returned[message_id]:
                self._returned[message_id] -= 1
                problem = Unroutable("no queue is bound for this message")
            if not waiter.done():
                waiter.set_exception(problem) if problem else waiter.set_result(None)
