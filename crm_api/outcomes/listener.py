"""Events from the mail room, applied in groups: what has come while one transaction ran goes into the next.

Those of mailings go by themselves, and last: a person's letter is behind none of them. One that cannot be applied is
set aside (poison.py), and the others go on.
"""

import asyncio
import contextlib
import logging

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from crm_api.faults import Fault, whose
from crm_api.outcomes import poison, store
from crm_api.writer import Writer
from shared.amqp import Delivery
from shared.clock import now
from shared.contracts import AttemptStarted, BadContract, OutcomeBatch, decode, decode_outcomes
from shared.lanes import Lane
from shared.tasks import run_forever

log = logging.getLogger("outcomes")

MOST = 1000  # outcomes in one transaction
GATHER_SECONDS = 0.05
PAUSE_SECONDS = 1.0
PATIENCE = 30  # pauses, for a database that answers with an error of which nobody can tell whose it is

Event = OutcomeBatch | AttemptStarted
_Waiting = tuple[Event, "asyncio.Future[str]"]  # what is wrong with it, or nothing


class OutcomeListener:
    """`on_delivery` is the consumer's callback: it acks only after the event is committed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._of_people: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._of_mailings: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            run_forever(self._apply_forever(self._of_people, later=False), "outcomes of people's letters"),
            run_forever(self._apply_forever(self._of_mailings, later=True), "outcomes of mailings"),
        ]

    async def close(self) -> None:
        """Call it when no delivery is under way any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def on_delivery(self, delivery: Delivery) -> None:
        events, wrong = _read(delivery)
        wrong += [why for why in await asyncio.gather(*(self._applied(event) for event in events)) if why]
        if wrong:
            await self._set_aside(delivery, wrong)
        else:
            delivery.ack()

    async def _applied(self, event: Event) -> str:
        """Returns once it is committed, or cannot be: then what is wrong with it."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await (self._of_mailings if _is_of_a_mailing(event) else self._of_people).put((event, done))
        return await done

    async def _set_aside(self, delivery: Delivery, wrong: list[str]) -> None:
        why = "; ".join(dict.fromkeys(wrong))
        log.error("an event goes to the dead letters: %s", why)
        while True:
            try:
                await self._writer.do(lambda session: poison.note(session, delivery, why))
                break
            except SQLAlchemyError as problem:
                if whose(problem) is Fault.asked:
                    log.exception("why an event lies in the dead letters could not be written down")
                    break
                await asyncio.sleep(PAUSE_SECONDS)
        delivery.nack(requeue=False)

    async def _apply_forever(self, waiting: asyncio.Queue[_Waiting], *, later: bool) -> None:
        while True:
            await self._apply(await _next_batch(waiting, later), later)

    async def _apply(self, batch: list[_Waiting], later: bool) -> None:
        events = [event for event, _ in batch]
        problem = await self._commit(events, later)
        if problem and len(events) > 1:  # one bad event must not hold up the others
            middle = len(batch) // 2
            await self._apply(batch[:middle], later)
            await self._apply(batch[middle:], later)
        elif problem and isinstance(events[0], OutcomeBatch) and len(events[0].outcomes) > 1:
            await self._apply_each(batch[0], later)
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(poison.told(problem) if problem else "")

    async def _apply_each(self, one: _Waiting, later: bool) -> None:
        """Of the outcomes of one event, too, those go on that can."""
        event, done = one
        assert isinstance(event, OutcomeBatch)
        problems = [await self._commit([OutcomeBatch((outcome,))], later) for outcome in event.outcomes]
        if not done.done():
            done.set_result("; ".join(dict.fromkeys(poison.told(problem) for problem in problems if problem)))

    async def _commit(self, events: list[Event], later: bool) -> Exception | None:
        """None once they are committed; waits for a database that is away; else what is wrong with one of them."""
        pauses = 0
        while True:
            try:
                await self._writer.do(lambda session: _write(session, events), later=later)
            except Exception as problem:
                fault = whose(problem)
                if fault is Fault.asked or (fault is Fault.unclear and pauses >= PATIENCE):
                    return problem
                pauses += 1
                log.warning("outcomes wait for the database: %s", getattr(problem, "orig", problem))
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return None


def _read(delivery: Delivery) -> tuple[list[Event], list[str]]:
    """What can be read of it, and what is wrong with the rest."""
    kind = delivery.properties.type
    try:
        event = decode(kind, delivery.body)
    except BadContract as problem:
        if kind != OutcomeBatch.TYPE:
            return [], [str(problem)]
        try:
            right, wrong = decode_outcomes(delivery.body)
        except BadContract as worse:
            return [], [str(worse)]
        return [OutcomeBatch(tuple(right))] if right else [], wrong
    if isinstance(event, Event):
        return [event], []
    return [], [f"{kind} is no event"]


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
