"""Files what messages are found by: out of the rows that wait, into the index. See crm_api.messages.finding.

Waiting costs nothing but that searches look through what waits, so this is dispatch's least urgent work.
"""

import asyncio
import logging
import time
from uuid import UUID

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from crm_api.messages.models import MessageWord, WaitingWords
from crm_api.writer import Writer

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ROWS, WORDS = 100, 1000  # about the most that is filed with one commit, in some 5 ms
TIMES = 4  # it rests so many times as long as it worked: others write meanwhile


class Filing:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def run(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                filed = await self._writer.do(file_words)
            except SQLAlchemyError as problem:
                log.warning("words of messages wait: %s", problem)
                filed = 0
            await asyncio.sleep((time.monotonic() - begun) * TIMES if filed else LOOK_SECONDS)


def file_words(session: Session) -> int:
    """Some of what has waited longest; how many rows of WaitingWords it was."""
    oldest = select(WaitingWords).order_by(col(WaitingWords.message_id), col(WaitingWords.part)).limit(ROWS)
    words: set[tuple[str, str]] = set()
    filed = 0
    for row in session.exec(oldest.with_for_update(skip_locked=True)).all():  # another dispatcher may be at it
        if len(words) < WORDS:
            words.update((word, row.message_id.hex) for word in row.words.split("\n")[1:])
            session.delete(row)
            filed += 1
    if words:
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        insert = dialect.insert(MessageWord.__table__).on_conflict_do_nothing()  # type: ignore[attr-defined]
        # in the order of the index by word: neighbours share its pages
        session.connection().execute(insert, [{"word": word, "message_id": UUID(its)} for word, its in sorted(words)])
    return filed
