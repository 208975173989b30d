"""Taking messages from queues; use it through shared.amqp."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pika import BasicProperties

from shared import broker_alarms, topology
from shared.alarms import Alarms
from shared.amqp_link import (
    CLOSE_SECONDS,
    Channel,
    Connection,
    Link,
    LinkDown,
    NotThere,
    declare_topology,
    first_of,
    give,
)
from shared.tasks import run_once

log = logging.getLogger("amqp")

TROUBLE_PAUSE_SECONDS = 1  # between a callback that failed and the return of its delivery
# With 32 acks under way a channel keeps further ones of a quorum queue to itself until the queue has answered, and
# loses them if it is closed at once: what was finished would be delivered again, for the ledger to recognise.
ACKS_TRAVEL_SECONDS = 0.2


class Delivery:
    """One message from a queue. ack and nack may come late or twice: a dead channel's tags died with it."""

    __slots__ = ("_channel", "_settled", "_tag", "body", "properties", "queue", "redelivered", "routing_key")

    def __init__(self, channel: Any, method: Any, properties: BasicProperties, body: bytes, queue: str) -> None:
        self._channel, self._tag, self._settled = channel, method.delivery_tag, False
        self.body, self.properties, self.queue = body, properties, queue
        self.routing_key: str = method.routing_key
        self.redelivered: bool = method.redelivered

    @property
    def settled(self) -> bool:
        return self._settled

    @property
    def alive(self) -> bool:
        """Whether an ack would still reach the broker's channel."""
        return bool(self._channel.is_open)

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}

    def ack(self) -> None:
        self._settle("basic_ack")

    def nack(self, requeue: bool) -> None:
        self._settle("basic_nack", requeue=requeue)

    def _settle(self, verb: str, **arguments: Any) -> None:
        if self._settled:
            return
        self._settled = True
        if self._channel.is_open:  # else the broker has given it to somebody else already
            getattr(self._channel, verb)(self._tag, **arguments)


class Consumer:
    """Consumes queues on a connection of its own; one channel a queue, one task a delivery.

    `prefetch` is one number, or one for each queue by its name. With `control_key` it also hears mail.ctl
    through an exclusive queue that lives as long as the connection.
    """

    def __init__(
        self,
        urls: list[str],
        name: str,
        queues: str | Sequence[str],
        prefetch: int | Mapping[str, int],
        on_delivery: Callable[[Delivery], Awaitable[None]],
        *,
        control_key: str | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        self._queues = [queues] if isinstance(queues, str) else list(queues)
        self._prefetch, self._on_delivery, self._control_key = prefetch, on_delivery, control_key
        self._alarms = alarms or Alarms()
        self._link = Link(urls, name, self._use)
        self._fewer: int | None = None  # instead of `prefetch`, while it consumes with caution
        self._wanted, self._unwanted = asyncio.Event(), asyncio.Event()
        self._wanted.set()
        if control_key:
            self._queues.append("")
        self._consuming: set[str] = set()  # queues whose consumer is registered with the broker
        self._all_up, self._all_down = asyncio.Event(), asyncio.Event()
        self._all_down.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled_at = 0.0  # when a delivery was last finished with

    async def start(self) -> None:
        """Returns at once; connects in the background."""
        self._link.start()

    @property
    def connected(self) -> bool:
        return self._all_up.is_set()

    async def wait_connected(self) -> None:
        await self._all_up.wait()

    @property
    def in_flight(self) -> int:
        """Deliveries whose callback has not returned."""
        return len(self._tasks)

    @property
    def held(self) -> dict[str, int]:
        """The same by queue; only queues of which there are some."""
        return dict(Counter(task.get_name() for task in self._tasks))

    async def stop_consuming(self) -> None:
        """No new delivery reaches the callback; those under way go on and can still be acked."""
        self._wanted.clear()
        self._unwanted.set()
        with contextlib.suppress(TimeoutError):  # a frozen broker does not answer; what it sends is nacked
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._all_down.wait()

    def consume_again(self, prefetch: int | None = None) -> None:
        """After stop_consuming; prefetch: another number for each queue than at the beginning."""
        self._fewer = prefetch
        self._unwanted.clear()
        self._wanted.set()

    async def idle(self) -> None:
        """Returns when no callback is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stops, cuts off callbacks that still run (their messages go back), says goodbye to the broker."""
        await self.stop_consuming()
        for task in self._tasks:
            task.cancel()
        await self.idle()
        await asyncio.sleep(self._settled_at + ACKS_TRAVEL_SECONDS - time.monotonic())
        await self._link.close()

    async def _use(self, connection: Connection) -> None:
        servers = [run_once(self._serve(connection, queue), f"consumer of {queue}") for queue in self._queues]
        try:
            await first_of(*servers, connection.closed)
            for server in servers:
                if server.done():
                    server.result()
            raise LinkDown(str(connection.closed.result()))
        finally:
            for server in servers:
                server.cancel()
            await asyncio.gather(*servers, return_exceptions=True)

    async def _serve(self, connection: Connection, queue: str) -> None:
        """Keeps one queue's consumer registered, on a new channel when the broker closed the old one."""
        while True:
            channel = await Channel.open(connection)
            while not channel.closed.done():
                await self._wanted.wait()
                try:
                    await channel.do("basic_qos", prefetch_count=self._prefetch_of(queue))
                    await self._consume(channel, queue)
                except LinkDown as problem:
                    if connection.closed.done():
                        raise
                    if isinstance(problem, NotThere):
                        broker_alarms.queue_is_missing(self._alarms, queue or topology.CONTROL)
                finally:
                    self._mark(queue, up=False)
            log.warning("channel closed", extra={"queue": queue or "control", "why": str(channel.closed.result())})
            await asyncio.sleep(TROUBLE_PAUSE_SECONDS)

    def _prefetch_of(self, queue: str) -> int:
        if self._fewer is not None:
            return self._fewer
        return self._prefetch if isinstance(self._prefetch, int) else self._prefetch.get(queue, 100)

    def _mark(self, queue: str, up: bool) -> None:
        (self._consuming.add if up else self._consuming.discard)(queue)
        (self._all_up.set if len(self._consuming) == len(self._queues) else self._all_up.clear)()
        (self._all_down.clear if self._consuming else self._all_down.set)()

    async def _consume(self, channel: Channel, queue: str) -> None:
        """Returns when the consumer is gone: no longer wanted, or its queue was deleted under it."""
        name = queue
        if not queue:
            # exclusive, so 4.3 takes it although it is transient; classic also where quorum is the default
            declared = await channel.do(
                "queue_declare", queue="", exclusive=True, arguments={"x-queue-type": "classic"}
            )
            name = declared.method.queue
            await channel.do("queue_bind", queue=name, exchange=topology.CONTROL, routing_key=self._control_key)
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.raw.add_on_cancel_callback(lambda _: give(cancelled, None))

        def on_message(raw: Any, method: Any, properties: BasicProperties, body: bytes) -> None:
            delivery = Delivery(raw, method, properties, body, queue)
            if self._unwanted.is_set():
                delivery.nack(requeue=True)
                return
            task = run_once(self._handle(delivery), queue)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        answer = await channel.do("basic_consume", queue=name, on_message_callback=on_message)
        self._mark(queue, up=True)
        broker_alarms.queue_is_there(self._alarms, queue or topology.CONTROL)
        unwanted = run_once(self._unwanted.wait(), f"end of {queue}")
        try:
            await first_of(cancelled, channel.closed, unwanted)
        finally:
            unwanted.cancel()
        if cancelled.done() and not channel.closed.done():
            log.warning("queue deleted under its consumer, declaring it again", extra={"queue": queue})
            self._mark(queue, up=False)
            await asyncio.sleep(TROUBLE_PAUSE_SECONDS)
            await declare_topology(channel)
        elif not channel.closed.done():
            await channel.do("basic_cancel", consumer_tag=answer.method.consumer_tag)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._on_delivery(delivery)
        except asyncio.CancelledError:
            delivery.nack(requeue=True)
            raise
        except Exception:
            # out of here an exception would be lost; inside pika's callback it would close the connection
            log.exception("a delivery failed, it goes back to its queue", extra={"queue": delivery.queue})
            await asyncio.sleep(TROUBLE_PAUSE_SECONDS)
            delivery.nack(requeue=True)
        finally:
            self._settled_at = time.monotonic()
