"""Takes out of mail.dead.v1 what a person has resolved, so that the queue and the pages show the same number."""

import asyncio
import logging
from datetime import timedelta

from sqlalchemy import delete, or_
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from crm_api.changes import ChangeFeed
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.writer import Writer
from shared.amqp import LinkDown, remove_from_queue
from shared.clock import now
from shared.topology import DEAD_QUEUE

log = logging.getLogger("dead letters")

LOOK_AGAIN_SECONDS = 30.0
TRY_AGAIN_SECONDS = 2.0  # a click can be quicker than the broker's own dead-lettering
GIVE_UP = timedelta(hours=1)  # it was never there


class DeadLetterSweeper:
    """walking: held while somebody looks through the queue, for whom nobody else can then count it."""

    def __init__(self, writer: Writer, feed: ChangeFeed, urls: list[str], walking: asyncio.Lock) -> None:
        self._writer, self._feed, self._urls, self._walking = writer, feed, urls, walking

    async def run(self) -> None:
        with self._feed.subscribe() as changes:
            while True:
                left = await self._sweep()
                await changes.until({"dead_letters"}, TRY_AGAIN_SECONDS if left else LOOK_AGAIN_SECONDS)

    async def _sweep(self) -> int:
        """Removes what can be removed; how many are still to be found."""
        try:
            keys = await self._writer.do(_wanted)
            if not keys:
                return 0
            async with self._walking:
                removed = await remove_from_queue(self._urls, DEAD_QUEUE, keys)
                await self._writer.do(lambda session: _forget(session, keys, removed))
        except (LinkDown, SQLAlchemyError) as problem:
            log.info("dead letters wait: %s", problem)
            return 1
        if removed:
            log.info("%d resolved letters taken out of %s", len(removed), DEAD_QUEUE)
        return len(keys - removed)


def _wanted(session: Session) -> set[str]:
    return set(session.exec(select(DeadLetterRemoval.key)))


def _forget(session: Session, keys: set[str], removed: set[str]) -> None:
    """All that were looked for and are gone, or have been wanted for so long that they will not come."""
    old = col(DeadLetterRemoval.created_at) < now() - GIVE_UP
    wanted = col(DeadLetterRemoval.key)
    session.execute(delete(DeadLetterRemoval).where(wanted.in_(keys), or_(wanted.in_(removed), old)))
