"""Carries pending deliveries to the broker: claim, publish with confirms, mark. One relay a lane.

Killed anywhere, nothing is lost: an unmarked claim runs out and is published again under the same message_id, and
the mail room's ledger knows it by that.
"""

import asyncio
import logging
import time
from functools import partial

from pika import BasicProperties
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import Session

from crm_api.auth.sealing import Seal
from crm_api.changes import ChangeFeed
from crm_api.monitoring import alarms
from crm_api.outbox import store
from crm_api.outbox.store import Claimed, Letters
from crm_api.outcomes.store import apply
from crm_api.writer import Writer
from shared.amqp import AmqpProblem, LinkDown, Publisher, Unroutable, properties
from shared.clock import now
from shared.contracts import Outcome, OutcomeKind, SendCommand, encode
from shared.lanes import Lane
from shared.topology import COMMANDS, lane_key

log = logging.getLogger("relay")

BATCH = 500  # letters in one claim
LOOK_AGAIN_SECONDS = 5.0  # at the latest, should an announcement have been missed
PAUSE_SECONDS = 1.0  # after the broker or the database refused


class CannotLeave(AmqpProblem):
    """Nothing that the broker could be given can be made of it; it has failed."""


def _cannot_leave(row: Claimed, lane: Lane, problem: Exception) -> Outcome:
    at = now()
    return Outcome(
        delivery=row.id,
        generation=row.generation,
        attempt=row.attempt + 1,
        lane=lane,
        kind=OutcomeKind.failed,
        phase="compose",
        reason=f"It cannot be given to the mail room: {type(problem).__name__}.",
        worker="dispatch",
        host="dispatch",
        received_at=at,
        finished_at=at,
    )


class Relay:
    def __init__(
        self,
        lane: Lane,
        writer: Writer,
        publisher: Publisher,
        feed: ChangeFeed,
        most_in_broker: int | None = None,
        seal: Seal | None = None,
    ) -> None:
        self.lane, self._publisher, self._feed = lane, publisher, feed
        self._do = partial(writer.do, later=lane is Lane.bulk)
        self._most = most_in_broker
        self._batch = BATCH if most_in_broker is None else max(1, min(BATCH, most_in_broker // 4))
        self._letters = Letters(seal)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """What is being published is still confirmed and marked."""
        self._stopping.set()

    async def run(self) -> None:
        with self._feed.subscribe() as changes:
            while not self._stopping.is_set():
                try:
                    if await self._carry():
                        continue
                    alarms.clear(f"lane {self.lane}")
                    deadline = asyncio.get_running_loop().time() + await self._until_due()
                except (SQLAlchemyError, AmqpProblem) as problem:
                    log.warning("lane %s pauses: %s", self.lane, problem)
                    self._stuck(problem)
                    await self._sleep(PAUSE_SECONDS)
                    continue
                while not self._stopping.is_set():
                    left = deadline - asyncio.get_running_loop().time()
                    if left <= 0 or await changes.until(self._wakers, min(left, 0.5)):
                        break

    def _stuck(self, problem: Exception) -> None:
        """A database or broker that is away says so itself; of anything else nobody would hear."""
        if not isinstance(problem, OperationalError | AmqpProblem):
            sentence = f"Nothing of the lane {self.lane} leaves: the database refuses what the relay asks of it."
            alarms.raise_alarm(f"lane {self.lane}", sentence, type(problem).__name__)

    @property
    def _wakers(self) -> set[str]:
        # a bounded lane goes on when outcomes have made room in the broker
        return {"outbox", "messages"} if self._most else {"outbox"}

    async def _carry(self) -> int:
        """Publishes batch after batch as long as there are full ones to be had; how many the broker confirmed."""
        if not self._publisher.connected or self._publisher.blocked:
            return 0
        confirmed = 0
        claimed = await self._do(self._claim)
        while claimed:
            answers = await self._publish(claimed)
            problems = [one for one in answers if one is not None and not isinstance(one, CannotLeave)]
            confirmed += len(claimed) - len(problems)
            go_on = not problems and not self._stopping.is_set()
            # what was confirmed is marked and the next batch claimed with one commit
            claimed = await self._do(partial(self._record, claimed, answers, go_on))
            if problems:
                await self._pause(len(answers), problems)
        return confirmed

    async def _publish(self, claimed: list[Claimed]) -> list[AmqpProblem | None]:
        messages: list[tuple[bytes, BasicProperties]] = []
        bad: dict[int, Exception] = {}
        for number, row in enumerate(claimed):
            try:
                messages.append(self._command(row))
            except Exception as problem:  # one that cannot be written down must not hold up its lane for ever
                log.exception("delivery %s cannot be published", row.id)
                bad[number] = problem
        answers = iter(await self._publisher.publish_many(COMMANDS, lane_key(self.lane), messages))
        if bad:
            outcomes = [_cannot_leave(claimed[number], self.lane, problem) for number, problem in bad.items()]
            await self._do(lambda session: apply(session, outcomes, now()))
        return [CannotLeave() if number in bad else next(answers) for number in range(len(claimed))]

    def _record(
        self, claimed: list[Claimed], answers: list[AmqpProblem | None], go_on: bool, session: Session
    ) -> list[Claimed]:
        at = now()
        by_answer: dict[str, list[Claimed]] = {"confirmed": [], "refused": [], "unsure": []}
        for row, problem in zip(claimed, answers, strict=True):
            known = "confirmed" if problem is None else "unsure" if isinstance(problem, LinkDown) else "refused"
            by_answer[known].append(row)
        store.mark_queued(session, by_answer["confirmed"], at)
        store.release(session, by_answer["refused"], certain=True, at=at)
        store.release(session, by_answer["unsure"], certain=False, at=at)
        return self._claim(session) if go_on else []

    async def _pause(self, published: int, problems: list[AmqpProblem]) -> None:
        log.warning("%d of %d of lane %s not confirmed: %s", len(problems), published, self.lane, problems[0])
        await self._sleep(PAUSE_SECONDS)
        # after the pause: the consumers of a queue that is there again at once are not told that it was deleted, and
        # are given nothing any more (RabbitMQ 3.10)
        if any(isinstance(problem, Unroutable) for problem in problems):
            await self._publisher.declare_again(COMMANDS, lane_key(self.lane))

    def _claim(self, session: Session) -> list[Claimed]:
        if self._most is not None and self._most - store.in_broker(session, self.lane) < self._batch:
            return []  # small batches cost as much as full ones
        claimed = store.claim(session, self.lane, now(), self._batch)
        self._letters.load(session, claimed)
        return claimed

    def _command(self, row: Claimed) -> tuple[bytes, BasicProperties]:
        command, before = self._letters.command(row, self.lane), self._letters.before(row)
        return (
            encode(command),
            properties(
                SendCommand.TYPE,
                command.key,
                x_attempt=row.attempt + 1,  # more than 1 for what the broker had lost
                x_first_seen=int(before.first_seen.timestamp() if before else time.time()),
                x_unknowns=before.unknowns if before else None,
                # W3C Trace Context: one trace a message, one span a delivery
                traceparent=f"00-{command.message.hex}-{command.delivery.hex[16:]}-01",
            ),
        )

    async def _until_due(self) -> float:
        if not self._publisher.connected or self._publisher.blocked:
            return 0.2
        due = await self._do(lambda session: store.next_due(session, self.lane))
        if due is None:
            return LOOK_AGAIN_SECONDS
        return max(0.005, min(LOOK_AGAIN_SECONDS, (due - now()).total_seconds()))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
