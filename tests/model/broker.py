"""The broker, simulated after shared.topology: routing, redelivery, dead letters, waiting, confirms that get lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from pika import BasicProperties

from shared import topology
from shared.amqp import AmqpProblem, Consumer, Delivery, LinkDown, Nacked, Unroutable
from tests.model.clock import Clock
from tests.model.process import Process

_QUEUES = {queue.name: queue for queue in topology.QUEUES}
_EXCHANGES = {exchange.name: exchange for exchange in topology.EXCHANGES}


@dataclass
class Letter:
    body: bytes
    properties: BasicProperties
    routing_key: str
    due: float = 0.0  # when its wait is over
    returns: int = 0

    @property
    def key(self) -> str:
        return str(self.properties.message_id)

    def copy(self, **changes: object) -> Letter:
        old = self.properties
        properties = BasicProperties(
            type=old.type,
            message_id=old.message_id,
            content_type=old.content_type,
            delivery_mode=old.delivery_mode,
            headers=dict(old.headers or {}),
        )
        return Letter(self.body, properties, self.routing_key, **changes)  # type: ignore[arg-type]


class Broker:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queues: dict[str, list[Letter]] = {name: [] for name in _QUEUES}
        self.refusals = 0  # so many publishes are nacked
        self.given_up: set[str] = set()  # keys that it dead-lettered by itself: the delivery limit
        self.channels: list[Channel] = []
        self.numbers = itertools.count(1)

    def publish(self, exchange: str, key: str, letter: Letter) -> bool:
        """False if no queue is bound for it."""
        fanout = _EXCHANGES[exchange].type == "fanout"
        bound = [
            name
            for name, queue in _QUEUES.items()
            if any(where == exchange and (fanout or word in (key, "#")) for where, word in queue.bindings)
        ]
        for name in bound:
            copy = letter.copy()
            copy.routing_key = key
            limits = [_QUEUES[name].arguments.get("x-message-ttl"), letter.properties.expiration]
            milliseconds = [int(each) for each in limits if each is not None]
            copy.due = self._clock.monotonic() + min(milliseconds, default=0) / 1000
            self.queues[name].append(copy)
        return bool(bound)

    def tick(self) -> None:
        """Waits that are over; a quorum queue looks only at its head."""
        for name, letters in self.queues.items():
            if "x-message-ttl" not in _QUEUES[name].arguments:
                continue
            while letters and letters[0].due <= self._clock.monotonic():
                self.dead_letter(name, letters.pop(0))

    def dead_letter(self, queue: str, letter: Letter) -> None:
        arguments = _QUEUES[queue].arguments
        key = arguments.get("x-dead-letter-routing-key", letter.routing_key)
        assert self.publish(arguments["x-dead-letter-exchange"], key, letter.copy())

    def give_back(self, queue: str, letter: Letter) -> None:
        letter.returns += 1
        if letter.returns > _QUEUES[queue].arguments.get("x-delivery-limit", topology.NO_DELIVERY_LIMIT):
            self.given_up.add(letter.key)
            self.dead_letter(queue, letter)
        else:
            self.queues[queue].insert(0, letter)

    def remove(self, queue: str, keys: set[str]) -> set[str]:
        """As shared.amqp.remove_from_queue."""
        found = {letter.key for letter in self.queues[queue] if letter.key in keys}
        self.queues[queue] = [letter for letter in self.queues[queue] if letter.key not in keys]
        return found

    @property
    def next_due(self) -> float | None:
        return min(
            (letters[0].due for name, letters in self.queues.items() if "wait" in name and letters), default=None
        )

    def left(self) -> list[str]:
        """What has not come to an end, for a person to read."""
        ready = [f"{letter.key} in {name}" for name, letters in self.queues.items() for letter in letters]
        return [line for line in ready if not line.endswith(topology.DEAD_QUEUE)] + [
            f"{letter.key} unacked by {channel.process.name}"
            for channel in self.channels
            for letter in channel.unacked.values()
        ]


class Channel:
    """One consumer's channel, as pika shows it (is_open, basic_ack, basic_nack), and the broker's end of it."""

    def __init__(self, process: Process, broker: Broker, queue: str, prefetch: int, consumer: Consumer) -> None:
        self.process, self.queue = process, queue
        self.unacked: dict[int, Letter] = {}
        self.is_open = True  # as the process knows it
        self._broker, self._prefetch, self._consumer = broker, prefetch, consumer
        self._there = True  # as the broker knows it
        self._line = f"settle {next(broker.numbers)}"
        process.channels.append(self)
        broker.channels.append(self)

    @property
    def can_take(self) -> bool:
        wanted = not self._consumer._unwanted.is_set()
        return wanted and bool(self._broker.queues[self.queue]) and len(self.unacked) < self._prefetch

    def take(self) -> None:
        """The next message reaches the process."""
        letter = self._broker.queues[self.queue].pop(0)
        tag = next(self._broker.numbers)
        self.unacked[tag] = letter
        properties = letter.copy().properties
        if letter.returns:
            properties.headers["x-delivery-count"] = letter.returns
        method = SimpleNamespace(delivery_tag=tag, routing_key=letter.routing_key, redelivered=bool(letter.returns))
        delivery = Delivery(self, method, properties, letter.body, self.queue)
        task = self.process.loop.create_task(self._consumer._handle(delivery))
        self._consumer._tasks.add(task)
        task.add_done_callback(self._consumer._tasks.discard)

    def basic_ack(self, tag: int) -> None:
        self.process.lay(self._line, lambda: self._settle(tag, "ack"))

    def basic_nack(self, tag: int, requeue: bool) -> None:
        self.process.lay(self._line, lambda: self._settle(tag, "requeue" if requeue else "reject"))

    def _settle(self, tag: int, how: str) -> None:
        letter = self.unacked.pop(tag, None) if self._there else None
        if letter is None:
            return  # the broker has given it to somebody else
        if how == "requeue":
            self._broker.give_back(self.queue, letter)
        elif how == "reject":
            self._broker.dead_letter(self.queue, letter)

    def lose(self, arrive: bool, reconnect: bool = False) -> None:
        """The link dies: at once for the broker, a step later for the process.

        arrive: whether acks that were under way got there.
        """
        self.process.flush(self._line, arrive)
        self._there = False
        for letter in reversed(self.unacked.values()):
            self._broker.give_back(self.queue, letter)
        self.unacked = {}
        self.process.channels.remove(self)
        self._broker.channels.remove(self)
        if not reconnect:
            self.is_open = False
            return

        def notice() -> None:
            self.is_open = False
            Channel(self.process, self._broker, self.queue, self._prefetch, self._consumer)

        self.process.lay("link", notice)


class Publisher:
    """As shared.amqp.Publisher."""

    connected, blocked = True, False

    def __init__(self, process: Process, broker: Broker) -> None:
        self._process, self._broker = process, broker
        self._unanswered: dict[asyncio.Future[AmqpProblem | None], None] = {}

    async def wait_connected(self) -> None:
        return

    async def declare_again(self, exchange: str, routing_key: str) -> None:
        return

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: BasicProperties) -> None:
        (problem,) = await self.publish_many(exchange, routing_key, [(body, properties)])
        if problem is not None:
            raise problem

    async def publish_many(
        self, exchange: str, routing_key: str, messages: Sequence[tuple[bytes, BasicProperties]]
    ) -> list[AmqpProblem | None]:
        waiters = []
        for body, properties in messages:
            waiter: asyncio.Future[AmqpProblem | None] = self._process.loop.create_future()
            self._unanswered[waiter] = None
            waiters.append(waiter)
            letter = Letter(body, properties, routing_key)
            self._process.lay("publish", lambda waiter=waiter, letter=letter: self._arrive(exchange, letter, waiter))
        return [await waiter for waiter in waiters]

    def _arrive(self, exchange: str, letter: Letter, waiter: asyncio.Future[AmqpProblem | None]) -> None:
        answer: AmqpProblem | None = None
        if self._broker.refusals:
            self._broker.refusals -= 1
            answer = Nacked("full")
        elif not self._broker.publish(exchange, letter.routing_key, letter):
            answer = Unroutable("no queue")
        self._process.lay("confirms", lambda: self._answer(waiter, answer))

    def _answer(self, waiter: asyncio.Future[AmqpProblem | None], answer: AmqpProblem | None) -> None:
        self._unanswered.pop(waiter, None)
        if not waiter.done():
            waiter.set_result(answer)

    def lose(self, arrive: bool) -> None:
        """The link dies with what was under way; confirms that had not come never come."""
        self._process.flush("publish", arrive)
        self._process.flush("confirms", arrive=False)
        for waiter in list(self._unanswered):
            self._answer(waiter, LinkDown("the link was lost"))
