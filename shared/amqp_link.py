"""One AMQP connection that is kept up: connect, fail over, declare, reconnect. shared.amqp builds on it.

pika reports everything by callbacks and never reconnects; here each wait is a coroutine that also ends when
the channel or the connection dies, so nothing can hang on an answer that will never come.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker

from shared import amqp_headers, topology
from shared.amqp_urls import read_amqp_url, written
from shared.readable import trusting
from shared.tasks import run_forever

log = logging.getLogger("amqp")
_random = random.SystemRandom()
amqp_headers.read_all()

HEARTBEAT_SECONDS = 10  # a half-open link is found within 35 s
BLOCKED_SECONDS = 60  # a broker in alarm for longer: the link is given up, publishes end with LinkDown
SOCKET_SECONDS = 5
STACK_SECONDS = 10  # TCP, TLS and AMQP handshake together
CLOSE_SECONDS = 5
ACCESS_REFUSED, NOT_FOUND = 403, 404
LONGEST_PAUSE_SECONDS = 10


class AmqpProblem(Exception):
    """Base of what can go wrong with the broker.

    AmqpProblem
    ├── Unroutable    no queue is bound for this key; the broker has dropped the message
    ├── Nacked        the broker refused the message (its queue is full); it was not enqueued
    └── LinkDown      connection lost, or blocked for too long; the message may nevertheless be in the queue
        ├── AccessRefused  only the channel was closed: this user may not do that
        └── NotThere       likewise: there is no queue or exchange of that name
    """


class Unroutable(AmqpProblem):
    pass


class Nacked(AmqpProblem):
    pass


class LinkDown(AmqpProblem):
    pass


class AccessRefused(LinkDown):
    pass


class NotThere(LinkDown):
    pass


FAILURES = (AMQPError, AMQPConnectorException, AmqpProblem, OSError)


def give(future: "asyncio.Future[Any]", value: object) -> None:
    """Ends the wait, unless it has ended already."""
    if not future.done():
        future.set_result(value)


async def first_of(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def parse(url: str, name: str) -> pika.URLParameters:
    """How to reach one broker; raises ValueError for a URL that is none, without saying its password.

    ?cacertfile=… is the only question a URL may ask: with pika's own it could leave the check of certificates and host
    names out.
    """
    found = read_amqp_url(url)
    parameters = pika.URLParameters(written(found))
    if parameters.ssl_options is not None:
        authorities = found.parameters.get("cacertfile")
        context = trusting(Path(authorities) if authorities else None)
        parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.blocked_connection_timeout = BLOCKED_SECONDS
    parameters.socket_timeout = SOCKET_SECONDS
    parameters.stack_timeout = STACK_SECONDS
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": name}
    return parameters


class Connection:
    """An open connection; `closed` is done, with the reason as its result, once it is lost."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[BaseException] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        self.raw: AsyncioConnection

    @classmethod
    async def open(cls, parameters: pika.URLParameters) -> "Connection":
        """Raises one of FAILURES."""
        self = cls()
        self.raw = AsyncioConnection(
            parameters,
            on_open_callback=lambda _: give(self._opened, None),
            on_open_error_callback=lambda _, problem: give(self.closed, problem),
            on_close_callback=lambda _, problem: give(self.closed, problem),
        )
        try:
            await first_of(self._opened, self.closed)
        except asyncio.CancelledError:
            await self.close()
            raise
        if self.closed.done():
            raise self.closed.result()
        return self

    async def close(self) -> None:
        """Flushes what was written, says goodbye, and cuts the line if the broker does not answer."""
        if not (self.raw.is_closing or self.raw.is_closed):
            self.raw.close()
        await asyncio.wait({self.closed}, timeout=CLOSE_SECONDS)
        if not self.closed.done() and (transport := self.raw._transport) is not None:
            transport.abort()
            await asyncio.wait({self.closed}, timeout=CLOSE_SECONDS)


class Channel:
    """A channel whose verbs can be awaited; `closed` is done, with the reason, once it is gone."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.raw: Any

    @classmethod
    async def open(cls, connection: Connection) -> "Channel":
        self = cls()
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self.raw = connection.raw.channel(on_open_callback=lambda raw: give(opened, raw))
        except AMQPError as problem:
            raise LinkDown(str(problem)) from problem
        self.raw.add_on_close_callback(lambda _, problem: give(self.closed, problem))
        await self._wait(opened)
        return self

    async def do(self, verb: str, **arguments: Any) -> Any:
        """Calls queue_declare, basic_consume … and waits for the broker's answer. Raises LinkDown."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            getattr(self.raw, verb)(**arguments, callback=lambda frame: give(answer, frame))
        except AMQPError as problem:
            raise LinkDown(str(problem)) from problem
        await self._wait(answer)
        return answer.result()

    async def _wait(self, answer: asyncio.Future[Any]) -> None:
        await first_of(answer, self.closed)
        if not answer.done():
            answer.cancel()
            raise self._why()

    def _why(self) -> LinkDown:
        problem = self.closed.result()
        code = problem.reply_code if isinstance(problem, ChannelClosedByBroker) else 0
        kinds: dict[int, type[LinkDown]] = {ACCESS_REFUSED: AccessRefused, NOT_FOUND: NotThere}
        return kinds.get(code, LinkDown)(str(problem))

    async def close(self) -> None:
        """Returns when the broker has seen everything that was sent on this channel, acks included."""
        if self.raw.is_open:
            self.raw.close()
            await asyncio.wait({self.closed}, timeout=CLOSE_SECONDS)


async def declare_topology(channel: Channel) -> None:
    """Everything in shared.topology; harmless when it is there already. Raises LinkDown."""
    for exchange in topology.EXCHANGES:
        await channel.do("exchange_declare", exchange=exchange.name, exchange_type=exchange.type, durable=True)
    for queue in topology.QUEUES:
        await channel.do("queue_declare", queue=queue.name, durable=True, arguments=queue.arguments)
        for exchange_name, key in queue.bindings:
            await channel.do("queue_bind", queue=queue.name, exchange=exchange_name, routing_key=key)


class Link:
    """Runs `use(connection)` on a connection with the topology declared, again and again, until closed.

    `use` returns or raises when the connection is of no more use to it; then the next URL is tried, after a
    pause that grows with the failures and is never the same for two processes.
    """

    def __init__(self, urls: list[str], name: str, use: Callable[[Connection], Awaitable[None]]) -> None:
        if not urls:
            raise ValueError("no AMQP URL")
        self._brokers = [parse(url, name) for url in urls]
        self._name, self._use = name, use
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        if self._task is None:
            self._task = run_forever(self._run(), f"amqp {self._name}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        turn = _random.randrange(len(self._brokers))
        said = ""
        while True:
            broker = self._brokers[turn % len(self._brokers)]
            turn += 1
            problem: object = "closed"
            try:
                await self._once(broker)
            except FAILURES as failure:
                problem = failure
            except Exception as failure:  # a defect must not end the only task that reconnects
                log.exception("the link to RabbitMQ failed unexpectedly")
                problem = failure
            self._failures += 1
            if (text := f"{type(problem).__name__} {problem}") != said:
                said = text
                log.warning(
                    "no link to RabbitMQ, trying again",
                    extra={"broker": f"{broker.host}:{broker.port}", "link": self._name, "why": text},
                )
            longest = min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(self._failures, 10))
            # another node may be up: try each of them once before waiting long
            await asyncio.sleep(_random.uniform(0.1, 0.2 if self._failures < len(self._brokers) else longest))

    async def _once(self, broker: pika.URLParameters) -> None:
        connection = await Connection.open(broker)
        try:
            await self._declare(connection)
            log.info("link to RabbitMQ", extra={"broker": f"{broker.host}:{broker.port}", "link": self._name})
            self._failures = 0
            await self._use(connection)
        finally:
            await connection.close()

    async def _declare(self, connection: Connection) -> None:
        """By a user that may; another finds what `python -m crm_api broker` has declared (shared/broker_rights.py)."""
        channel = await Channel.open(connection)
        try:
            await declare_topology(channel)
            await channel.close()
        except AccessRefused:
            log.debug("this user declares nothing: queues are expected to be there", extra={"link": self._name})
