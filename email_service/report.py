"""Outcome events out: confirmed by the broker before the command they belong to is acked."""

import asyncio
import contextlib
import logging
from collections import deque
from uuid import uuid4

from shared import topology
from shared.amqp import LinkDown, Nacked, Publisher, Unroutable, properties
from shared.contracts import AttemptStarted, Heartbeat, Outcome, OutcomeBatch, encode
from shared.lanes import Lane
from shared.tasks import run_forever

log = logging.getLogger("report")

BATCH = 100  # outcomes in one event
GATHER_SECONDS = 0.02  # how long those of a mailing wait for company; a person's letter waits for nothing
SENDERS = 2  # events under way; while they are confirmed, the next outcomes gather
PAUSE_SECONDS = 1


async def publish_until_confirmed(
    publisher: Publisher, exchange: str, key: str, body: bytes, kind: str, message_id: str, **more: object
) -> None:
    """Tries until the broker has it, whatever dies meanwhile; so the message may be there twice."""
    said = False
    while True:
        await publisher.wait_connected()
        try:
            await publisher.publish(exchange, key, body, properties(kind, message_id, **more))  # type: ignore[arg-type]
            return
        except LinkDown:
            continue
        except (Nacked, Unroutable) as problem:
            if not said:
                said = True
                log.error("the broker does not take a message, trying again", extra={"why": str(problem)})
            await asyncio.sleep(PAUSE_SECONDS)
            if isinstance(problem, Unroutable):
                try:
                    await publisher.declare_again(exchange, key)
                except LinkDown:
                    continue


class Reporter:
    """Puts the outcomes that wait at the same time into one event."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: deque[tuple[Outcome, asyncio.Future[None]]] = deque()
        self._wake, self._hurry = asyncio.Event(), asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._senders = [run_forever(self._run(), "reporter") for _ in range(SENDERS)]

    async def close(self) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    async def outcome(self, outcome: Outcome) -> None:
        """Returns once the broker has confirmed it."""
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, confirmed))
        self._wake.set()
        if outcome.lane is not Lane.bulk or len(self._waiting) >= BATCH:
            self._hurry.set()
        await confirmed

    async def started(self, started: AttemptStarted) -> None:
        """Only news for a page: not repeated if the broker does not take it."""
        try:
            await self._publisher.publish(
                topology.EVENTS, topology.STARTED_KEY, encode(started), properties(started.TYPE, str(uuid4()))
            )
        except (LinkDown, Nacked, Unroutable) as problem:
            log.info("a started event was not sent", extra={"why": str(problem)})

    async def heartbeat(self, beat: Heartbeat) -> bool:
        """Whether somebody heard it: at a start the mail room may be up before dispatch listens."""
        try:
            await self._publisher.publish(
                topology.CONTROL,
                topology.HEARTBEAT_KEY,
                encode(beat),
                properties(beat.TYPE, str(uuid4()), expiration_ms=60_000),
            )
        except (LinkDown, Nacked, Unroutable) as problem:
            log.debug("a heartbeat was not heard", extra={"why": str(problem)})
            return False
        return True

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            body = encode(OutcomeBatch(tuple(outcome for outcome, _ in batch)))
            await publish_until_confirmed(
                self._publisher, topology.EVENTS, topology.OUTCOME_KEY, body, OutcomeBatch.TYPE, str(uuid4())
            )
            for _, confirmed in batch:
                if not confirmed.done():
                    confirmed.set_result(None)

    async def _next_batch(self) -> list[tuple[Outcome, asyncio.Future[None]]]:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._hurry.wait()
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if len(self._waiting) < BATCH:
            self._hurry.clear()
        return batch
