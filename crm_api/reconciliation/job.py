"""Dispatch compares database, broker and dead letters, mends what can be mended safely, and writes down the rest.

Every RECONCILE_SECONDS, or when a person asks; of several dispatches one does it. A turn's work is bounded: it
reads beside the others, and writes in short transactions.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import delete, or_, update
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col

from crm_api.changes import ChangeFeed, announce
from crm_api.db import Database
from crm_api.monitoring import alarms
from crm_api.monitoring.alarms import of_this_process
from crm_api.outbox.store import Letters, rows_of
from crm_api.reconciliation import dead_letters, letters, sums
from crm_api.reconciliation.figures import QUEUES, Figures, from_row, gather, newest, to_row
from crm_api.reconciliation.models import ASKED, Finding, Look, Turn
from crm_api.settings import CrmSettings
from crm_api.writer import Writer
from shared import broker_alarms, topology
from shared.amqp import AccessRefused, Found, LinkDown, NotThere, Publisher, depths, properties, walk_queue
from shared.clock import now
from shared.contracts import SendCommand, encode
from shared.lanes import Lane
from shared.topology import DEAD_LETTERS, DEAD_QUEUE

log = logging.getLogger("reconciliation")

LOOKS_KEPT = timedelta(days=1)
FINDINGS_KEPT = timedelta(days=90)
WALK_ANYWAY = timedelta(hours=1)
AT_ONCE = 500  # letters requeued in one transaction
MOST = 5000  # letters requeued in one turn
POLL_SECONDS = 0.5
FAILS = "Database, broker and dead letters are not compared: the comparison fails each time."
CLOCKS_DIFFER = timedelta(minutes=1)  # of several hosts, at most
MOST_CHANGED = 5000  # messages remembered between two turns

Result = TypeVar("Result")


class Reconciler:
    """walking: held while somebody looks through the dead letters, which cannot be counted then."""

    def __init__(
        self,
        settings: CrmSettings,
        database: Database,
        writer: Writer,
        publisher: Publisher,
        feed: ChangeFeed,
        walking: asyncio.Lock,
    ) -> None:
        self._settings, self._database, self._writer = settings, database, writer
        self._publisher, self._feed, self._walking = publisher, feed, walking
        self._changed: set[UUID] = set()
        self._obstacle = ""

    async def run(self) -> None:
        with self._feed.subscribe() as changes:
            loop = asyncio.get_running_loop()
            while True:
                asked, deadline = False, loop.time() + self._settings.reconcile_seconds
                while not asked and (left := deadline - loop.time()) > 0:
                    await asyncio.sleep(min(left, POLL_SECONDS))
                    topics = await changes.next(0)
                    asked = ASKED in topics
                    self._note(topics)
                try:
                    await self.compare(asked)
                except AccessRefused as problem:
                    log.warning("the comparison is refused: %s", problem)
                    broker_alarms.may_not_compare(of_this_process)
                except (OperationalError, LinkDown) as problem:
                    log.warning("the comparison waits: %s", problem)
                except Exception as problem:  # a defect here must not stop the letters, and must be seen
                    log.exception("the comparison failed")
                    alarms.raise_alarm("comparison", FAILS, f"{type(problem).__name__}: {problem}")
                else:
                    alarms.clear("comparison")

    def _note(self, topics: set[str]) -> None:
        for topic in topics:
            if topic.startswith("message:") and len(self._changed) < MOST_CHANGED:
                with contextlib.suppress(ValueError):  # whoever may NOTIFY may say anything
                    self._changed.add(UUID(topic.removeprefix("message:")))

    async def compare(self, asked: bool = False) -> bool:
        """Whether it was our turn. Raises LinkDown, SQLAlchemyError."""
        at = now()
        pause = timedelta(seconds=1.0 if asked else self._settings.reconcile_seconds * 0.9)
        if not await self._writer.do(partial(_take_turn, at, pause)):
            return False
        settled = at - timedelta(seconds=self._settings.reconcile_seconds)
        async with self._walking:
            depth = await self._depths()
            before = await self._read(_last)
            figures = await self._read(lambda session: gather(session, at, depth))
            figures.obstacle = "" if figures.reached else self._obstacle
            _carry(figures, before)
            if depth is not None and self._walk_is_due(figures, at):
                await self._dead_letters(figures, at, settled)
        await self._sums(figures, at)
        await self._letters(at, figures)
        await self._writer.do(lambda session: _write_down(session, at, figures, before))
        if figures.reached:
            broker_alarms.may_compare(of_this_process)
        return True

    async def _depths(self) -> dict[str, int] | None:
        try:
            found = await self._asked()
        except AccessRefused as problem:
            log.warning("the broker cannot be compared: %s", problem)
            broker_alarms.may_not_compare(of_this_process)
            self._obstacle = "refused"
            return None
        except LinkDown as problem:
            self._obstacle = "missing" if isinstance(problem, NotThere) else ""
            log.info("the broker cannot be compared: %s", problem)
            return None
        for queue in QUEUES:
            broker_alarms.queue_is_there(of_this_process, queue)
        return found

    async def _asked(self) -> dict[str, int]:
        """What is missing is made, by a user that may. Raises LinkDown."""
        try:
            return await depths(self._settings.amqp_urls, QUEUES)
        except NotThere as problem:
            queue = next((each for each in QUEUES if each in str(problem)), QUEUES[0])
            exchange, key = next(each.bindings[0] for each in topology.QUEUES if each.name == queue)
            try:
                await self._publisher.declare_again(exchange, key)
            except AccessRefused:
                raise problem from None
            return await depths(self._settings.amqp_urls, QUEUES)

    async def _read(self, work: Callable[[Session], Result]) -> Result:
        def read() -> Result:
            with self._database.read() as session:
                return work(session)

        return await asyncio.to_thread(read)

    # ---- dead letters --------------------------------------------------------------------------------------

    @staticmethod
    def _walk_is_due(figures: Figures, at: datetime) -> bool:
        """One by one only if their number is not what it should be, or now and then."""
        if figures.dead > dead_letters.MOST or figures.events:
            return False
        should = figures.failures + figures.leaving + figures.strangers - figures.without
        return figures.dead != should or figures.walked_at is None or figures.walked_at < at - WALK_ANYWAY

    async def _dead_letters(self, figures: Figures, at: datetime, settled: datetime) -> None:
        dead = await walk_queue(self._settings.amqp_urls, DEAD_QUEUE)
        found = await self._read(lambda session: dead_letters.sort(session, dead, settled))
        removed: list[Found] = []
        if found.left_over or found.doubled:
            take = dead_letters.superfluous(found, removed)
            await walk_queue(self._settings.amqp_urls, DEAD_QUEUE, take)
        put_back = await self._put_back(found.without[: dead_letters.PUT_BACK])
        figures.without, figures.strangers = len(found.without) - len(put_back), len(found.strangers)
        figures.walked_at = at

        def mend(session: Session) -> None:
            dead_letters.settle(session, found.silent, at)
            dead_letters.note_strangers(session, found.strangers)
            dead_letters.note(session, "put_back", put_back, at)
            dead_letters.note(session, "removed", [one.key for one in removed], at)

        await self._writer.do(mend)

    async def _put_back(self, ids: list[UUID]) -> list[UUID]:
        """Failures whose dead letter is gone get a new one, so that the console shows them again."""
        if not ids or not self._publisher.connected or self._publisher.blocked:
            return []
        known = Letters()

        def load(session: Session) -> list[tuple[Lane, UUID, SendCommand, int]]:
            rows = rows_of(session, ids)
            known.load(session, [row for _, row in rows])
            return [(lane, row.id, known.command(row, lane), row.attempt) for lane, row in rows]

        done = []
        commands = await self._read(load)
        for lane in Lane:
            mine = [(one, command, attempt) for its, one, command, attempt in commands if its is lane]
            answers = await self._publisher.publish_many(
                DEAD_LETTERS,
                f"dead.{lane}",
                [
                    (encode(command), properties(SendCommand.TYPE, command.key, x_attempt=attempt))
                    for _, command, attempt in mine
                ],
            )
            done += [one for (one, _, _), problem in zip(mine, answers, strict=True) if problem is None]
        return done

    # ---- sums ----------------------------------------------------------------------------------------------

    async def _sums(self, figures: Figures, at: datetime) -> None:
        changed, self._changed = self._changed | set(figures.unequal), set()
        after = await self._read(lambda session: session.get_one(Turn, 1).sums_after)
        chosen, after = await self._read(lambda session: sums.next_messages(session, changed, after))
        wrong = await self._read(lambda session: sums.wrong(session, chosen)) if chosen else []
        figures.checked = len(chosen)

        def mend(session: Session) -> list[UUID]:
            session.get_one(Turn, 1).sums_after = after
            return sums.correct(session, wrong, at) if wrong else []

        figures.unequal = await self._writer.do(mend)

    # ---- letters -------------------------------------------------------------------------------------------

    async def _letters(self, at: datetime, figures: Figures) -> None:
        """What is missing, and what of it has been for so long that it is requeued now."""
        remembered = letters.remembered_since(self._settings, at)
        patience = at - timedelta(minutes=self._settings.requeue_minutes)
        for one in figures.lanes:
            most = figures.most_missing(one.lane)
            if not most:
                continue
            seen, before = await self._read(
                lambda session, lane=one.lane: (  # type: ignore[misc]
                    letters.seen_empty(session, lane, at),
                    letters.seen_empty(session, lane, patience),
                )
            )
            requeued = await self._requeue(one.lane, before, min(most, MOST), remembered, at)
            rows = await self._read(
                lambda session, lane=one.lane, seen=seen, most=most - requeued: letters.lost(session, lane, seen, most)  # type: ignore[misc]
            )
            one.old = sum(row.since < remembered for row in rows)
            one.missing = len(rows) - one.old

    async def _requeue(self, lane: Lane, seen: letters.Seen, most: int, remembered: datetime, at: datetime) -> int:
        def some(session: Session) -> list[UUID]:
            rows = [row for row in letters.lost(session, lane, seen, most) if row.since >= remembered][:AT_ONCE]
            letters.requeue(session, rows)
            dead_letters.note(session, "requeued", [row.id for row in rows], at)
            return [row.id for row in rows]

        done = 0
        while done < most and (ids := await self._writer.do(some)):
            done += len(ids)
            log.warning("%d letters of lane %s had been lost by the broker, requeued", len(ids), lane)
        return done


def _take_turn(at: datetime, pause: timedelta, session: Session) -> bool:
    taken = session.connection().execute(
        update(Turn)
        # or the clock was put back
        .where(col(Turn.id) == 1, or_(col(Turn.taken_at) <= at - pause, col(Turn.taken_at) > at + CLOCKS_DIFFER))
        .values(taken_at=at)
    )
    return bool(taken.rowcount)


def _last(session: Session) -> Figures | None:
    look = newest(session)
    return from_row(look) if look else None


def _carry(figures: Figures, before: Figures | None) -> None:
    """What is not looked at anew in every turn."""
    if before:
        figures.without, figures.strangers, figures.walked_at = before.without, before.strangers, before.walked_at
        figures.unequal = before.unequal


def _write_down(session: Session, at: datetime, figures: Figures, before: Figures | None) -> None:
    session.execute(delete(Look).where(or_(col(Look.at) < at - LOOKS_KEPT, col(Look.at) > at + CLOCKS_DIFFER)))
    session.merge(to_row(at, figures))
    fresh = set(figures.unequal) - set(before.unequal if before else ())
    session.add_all(Finding(at=at, kind="unequal", count=1, message_id=message) for message in sorted(fresh))
    session.execute(delete(Finding).where(col(Finding.at) < at - FINDINGS_KEPT))
    announce(session, "reconciliation")
    if figures.differences != (before.differences if before else 0):
        announce(session, "system")
