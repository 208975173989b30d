"""Events from the mail room, applied in groups: what has come while one transaction ran goes into the next.

Those of mailings go by themselves, and last: a person's letter is behind none of them.
"""

import asyncio
import contextlib
import logging

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import Session

from crm_api.outcomes import store
from crm_api.writer import Writer
from shared.amqp import Delivery
from shared.clock import now
from shared.contracts import AttemptStarted, BadContract, OutcomeBatch, decode
from shared.lanes import Lane

log = logging.getLogger("outcomes")

MOST = 1000  # outcomes in one transaction
GATHER_SECONDS = 0.05
PAUSE_SECONDS = 1.0

Event = OutcomeBatch | AttemptStarted
_Waiting = tuple[Event, "asyncio.Future[None]"]


class OutcomeListener:
    """`on_delivery` is the consumer's callback: it acks only after the event is committed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._of_people: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._of_mailings: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._apply_forever(self._of_people, later=False), name="outcomes of people's letters"),
            asyncio.create_task(self._apply_forever(self._of_mailings, later=True), name="outcomes of mailings"),
        ]

    async def close(self) -> None:
        """Call it when no delivery is under way any more."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def on_delivery(self, delivery: Delivery) -> None:
        try:
            event = decode(delivery.properties.type, delivery.body)
            if not isinstance(event, Event):
                raise BadContract(f"{delivery.properties.type} is no event")
        except BadContract as problem:
            log.error("an event that nobody understands goes to the dead letters: %s", problem)
            delivery.nack(requeue=False)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await (self._of_mailings if _is_of_a_mailing(event) else self._of_people).put((event, done))
        try:
            await done
        except SQLAlchemyError as problem:
            log.error("an event could not be applied: %s", problem)
            delivery.nack(requeue=True)  # the queue's delivery limit ends this
            return
        delivery.ack()

    async def _apply_forever(self, waiting: asyncio.Queue[_Waiting], *, later: bool) -> None:
        while True:
            await self._apply(await _next_batch(waiting, later), later)

    async def _apply(self, batch: list[_Waiting], later: bool) -> None:
        events = [event for event, _ in batch]
        while True:
            try:
                await self._writer.do(lambda session: _write(session, events), later=later)
            except OperationalError as problem:  # the database is away or locked: nothing is acked until it is back
                log.warning("outcomes wait for the database: %s", problem.orig)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except SQLAlchemyError as problem:
                if len(batch) > 1:  # one bad event must not hold up the others
                    for one in batch:
                        await self._apply([one], later)
                    return
                batch[0][1].set_exception(problem)
                return
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
            return


async def _next_batch(waiting: asyncio.Queue[_Waiting], later: bool) -> list[_Waiting]:
    """What has come, and of mailings what comes within a moment after the first."""
    batch = [await waiting.get()]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GATHER_SECONDS if later else 0):
            while _size(batch) < MOST:
                batch.append(await waiting.get())
    return batch


def _size(batch: list[_Waiting]) -> int:
    return sum(len(event.outcomes) if isinstance(event, OutcomeBatch) else 1 for event, _ in batch)


def _is_of_a_mailing(event: Event) -> bool:
    return isinstance(event, OutcomeBatch) and all(outcome.lane is Lane.bulk for outcome in event.outcomes)


def _write(session: Session, events: list[Event]) -> None:
    started = [event for event in events if isinstance(event, AttemptStarted)]
    if started:
        store.begin(session, started)
    outcomes = [outcome for event in events if isinstance(event, OutcomeBatch) for outcome in event.outcomes]
    if outcomes:
        store.apply(session, outcomes, now())
