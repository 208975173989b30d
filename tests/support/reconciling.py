"""Comparisons against a broker's figures that the test makes up, and against a real one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pika
from pydantic import SecretStr

from crm_api.changes import ChangeFeed
from crm_api.messages.models import Delivery, Message
from crm_api.monitoring.models import Process
from crm_api.outbox import store as outbox
from crm_api.reconciliation.figures import QUEUES, Figures, from_row, newest
from crm_api.reconciliation.job import Reconciler
from crm_api.reconciliation.models import Turn
from crm_api.writer import Writer
from shared.amqp import Publisher
from shared.clock import now
from shared.lanes import Lane
from tests.support.crm import Crm

MINUTE = timedelta(minutes=1)


def queue_all(crm: Crm, lane: Lane = Lane.urgent) -> None:
    """As if the broker had confirmed all that is due."""
    with crm.database.write() as session:
        outbox.mark_queued(session, outbox.claim(session, lane, now(), 10_000), now())


def move_back(crm: Crm, span: timedelta, *ids: UUID) -> None:
    """As if these deliveries had been queued, or put off, so much earlier."""
    with crm.database.write() as session:
        for delivery in (session.get_one(Delivery, one) for one in ids):
            for name in ("due_at", "queued_at", "next_at", "done_at"):
                if (value := getattr(delivery, name)) is not None:
                    setattr(delivery, name, value - span)


def worker(crm: Crm, **held: int) -> None:
    """A worker's heartbeat. held: queue of this lane → deliveries in hand."""
    data: dict[str, object] = {"held": {f"mail.send.{lane}.v1": count for lane, count in held.items()}}
    with crm.database.write() as session:
        session.merge(Process(name="north/1", kind="worker", seen_at=now(), data=data | {"in_flight": 99}))


@dataclass
class Comparing:
    """A reconciler whose broker says what `depths` says; None is a broker that does not answer."""

    crm: Crm
    reconciler: Reconciler
    depths: dict[str, int] | None

    async def look(self) -> Figures:
        """One comparison, as if the last one had been long enough ago."""
        await asyncio.to_thread(self._forget_turn)
        assert await self.reconciler.compare()
        return await asyncio.to_thread(self.newest)

    def newest(self) -> Figures:
        with self.crm.database.read() as session:
            look = newest(session)
            assert look
            return from_row(look)

    def _forget_turn(self) -> None:
        with self.crm.database.write() as session:
            session.get_one(Turn, 1).taken_at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

    def say(self, **counts: int) -> None:
        """send_urgent=3: the queue mail.send.urgent.v1 holds three; the others hold none."""
        self.depths = dict.fromkeys(QUEUES, 0)
        for name, count in counts.items():
            queue = next(queue for queue in QUEUES if name.replace("_", ".") in queue)
            self.depths[queue] = count


@asynccontextmanager
async def comparing(crm: Crm, amqp_url: str | None = None, **settings: float) -> AsyncIterator[Comparing]:
    """Without a URL the broker's figures are made up, and there are no dead letters."""
    url = SecretStr(amqp_url or "amqp://127.0.0.1:9/")
    changed = crm.settings.model_copy(update={"amqp_url": url} | settings)
    writer, feed = Writer(crm.database), ChangeFeed(crm.database.url)
    publisher = Publisher(changed.amqp_urls, "test reconciliation")
    reconciler = Reconciler(changed, crm.database, writer, publisher, feed, asyncio.Lock())
    made = Comparing(crm, reconciler, dict.fromkeys(QUEUES, 0))
    if amqp_url:
        await publisher.start()
        await publisher.wait_connected()
    else:

        async def depths() -> dict[str, int] | None:
            return made.depths

        reconciler._depths = depths  # type: ignore[method-assign]
        reconciler._walk_is_due = lambda *_: False  # type: ignore[method-assign]
    try:
        yield made
    finally:
        await publisher.close()
        writer.close()


def purge(url: str, queue: str) -> int:
    """What an operator does by mistake; how many messages are gone."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return int(connection.channel().queue_purge(queue).method.message_count)


def lost_letters(crm: Crm, count: int, ago: timedelta = MINUTE, **members: object) -> Message:
    """A message whose letters the broker has lost, found by two comparisons."""
    message = crm.send(*(f"r{number}@example.com" for number in range(count)), **members)
    queue_all(crm)
    move_back(crm, ago, *(row.id for row in crm.deliveries(message.id)))

    async def compare() -> None:
        async with comparing(crm) as made:
            await made.look()
            await made.look()

    run_apart(compare())
    return message


def run_apart(work: Coroutine[None, None, None]) -> None:
    """In a thread of its own: the caller may be inside a loop already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
