"""Carries pending deliveries to the broker: claim, publish with confirms, mark. One relay a lane.

Killed anywhere, nothing is lost: an unmarked claim runs out and is published again under the same message_id, and
the mail room's ledger knows it by that.
"""

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from crm_api.changes import ChangeFeed
from crm_api.outbox import store
from crm_api.outbox.store import Claimed, Letters
from crm_api.writer import Writer
from shared.amqp import AmqpProblem, LinkDown, Publisher, Unroutable, properties
from shared.clock import now
from shared.contracts import SendCommand, encode
from shared.lanes import Lane
from shared.topology import COMMANDS, lane_key

log = logging.getLogger("relay")

BATCH = 200
LOOK_AGAIN_SECONDS = 5.0  # at the latest, should an announcement have been missed
PAUSE_SECONDS = 1.0  # after the broker or the database refused


class Relay:
    def __init__(
        self, lane: Lane, writer: Writer, publisher: Publisher, feed: ChangeFeed, most_in_broker: int | None = None
    ) -> None:
        self.lane, self._writer, self._publisher, self._feed = lane, writer, publisher, feed
        self._most = most_in_broker
        self._letters = Letters()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """What is being published is still confirmed and marked."""
        self._stopping.set()

    async def run(self) -> None:
        with self._feed.subscribe() as changes:
            while not self._stopping.is_set():
                try:
                    moved = await self._round()
                except (SQLAlchemyError, AmqpProblem) as problem:
                    log.warning("lane %s pauses: %s", self.lane, problem)
                    await self._sleep(PAUSE_SECONDS)
                    continue
                if moved:
                    continue
                deadline = asyncio.get_running_loop().time() + await self._until_due()
                while not self._stopping.is_set():
                    left = deadline - asyncio.get_running_loop().time()
                    if left <= 0 or await changes.until(self._wakers, min(left, 0.5)):
                        break

    @property
    def _wakers(self) -> set[str]:
        # a bounded lane goes on when outcomes have made room in the broker
        return {"outbox", "messages"} if self._most else {"outbox"}

    async def _round(self) -> int:
        """Publishes one batch; how many the broker confirmed."""
        if not self._publisher.connected or self._publisher.blocked:
            return 0
        claimed = await self._writer.do(self._claim)
        if not claimed:
            return 0
        answers = await asyncio.gather(*(self._publish(row) for row in claimed))
        confirmed = [row for row, problem in zip(claimed, answers, strict=True) if problem is None]
        refused = [(row, problem) for row, problem in zip(claimed, answers, strict=True) if problem is not None]
        at = now()

        def record(session: Session) -> None:
            store.mark_queued(session, confirmed, at)
            for certain in (True, False):
                rows = [row for row, problem in refused if isinstance(problem, LinkDown) != certain]
                if rows:
                    store.release(session, rows, certain, at)

        await self._writer.do(record)
        if refused:
            log.warning("%d of lane %s not confirmed: %s", len(refused), self.lane, refused[0][1])
            if any(isinstance(problem, Unroutable) for _, problem in refused):
                await self._publisher.declare_again()
            await self._sleep(PAUSE_SECONDS)
        return len(confirmed)

    def _claim(self, session: Session) -> list[Claimed]:
        limit = BATCH
        if self._most is not None:
            limit = min(limit, self._most - store.in_broker(session, self.lane))
        if limit <= 0:
            return []
        claimed = store.claim(session, self.lane, now(), limit)
        self._letters.load(session, claimed)
        return claimed

    async def _publish(self, row: Claimed) -> AmqpProblem | None:
        command = self._letters.command(row, self.lane)
        headers = properties(
            SendCommand.TYPE,
            command.key,
            x_attempt=1,
            x_first_seen=int(now().timestamp()),
            # W3C Trace Context: one trace a message, one span a delivery
            traceparent=f"00-{command.message.hex}-{command.delivery.hex[16:]}-01",
        )
        try:
            await self._publisher.publish(COMMANDS, lane_key(self.lane), encode(command), headers)
        except AmqpProblem as problem:
            return problem
        return None

    async def _until_due(self) -> float:
        if not self._publisher.connected or self._publisher.blocked:
            return 0.2
        due = await self._writer.do(lambda session: store.next_due(session, self.lane))
        if due is None:
            return LOOK_AGAIN_SECONDS
        return max(0.005, min(LOOK_AGAIN_SECONDS, (due - now()).total_seconds()))

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
