"""Events from the mail room, applied in groups: what has come while one transaction ran goes into the next."""

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

log = logging.getLogger("outcomes")

MOST = 500  # events in one transaction
PAUSE_SECONDS = 1.0

Event = OutcomeBatch | AttemptStarted
_Waiting = tuple[Event, "asyncio.Future[None]"]


class OutcomeListener:
    """`on_delivery` is the consumer's callback: it acks only after the event is committed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._apply_forever(), name="outcomes")

    async def close(self) -> None:
        """Call it when no delivery is under way any more."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

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
        await self._waiting.put((event, done))
        try:
            await done
        except SQLAlchemyError as problem:
            log.error("an event could not be applied: %s", problem)
            delivery.nack(requeue=True)  # the queue's delivery limit ends this
            return
        delivery.ack()

    async def _apply_forever(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < MOST and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._apply(batch)

    async def _apply(self, batch: list[_Waiting]) -> None:
        events = [event for event, _ in batch]
        while True:
            try:
                await self._writer.do(lambda session: _write(session, events))
            except OperationalError as problem:  # the database is away or locked: nothing is acked until it is back
                log.warning("outcomes wait for the database: %s", problem.orig)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except SQLAlchemyError as problem:
                if len(batch) > 1:  # one bad event must not hold up the others
                    for one in batch:
                        await self._apply([one])
                    return
                batch[0][1].set_exception(problem)
                return
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
            return


def _write(session: Session, events: list[Event]) -> None:
    started = [event for event in events if isinstance(event, AttemptStarted)]
    if started:
        store.begin(session, started)
    outcomes = [outcome for event in events if isinstance(event, OutcomeBatch) for outcome in event.outcomes]
    if outcomes:
        store.apply(session, outcomes, now())
