"""Dispatch's one hand on the database: its transactions run one after the other in one thread.

SQLite has one writer anyway, and on PostgreSQL it keeps relay and outcomes of one process out of each other's way.
What a person waits for goes before what waits of a mailing.
"""

import asyncio
import itertools
import logging
import queue
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from crm_api.db import Database

log = logging.getLogger(__name__)

Result = TypeVar("Result")

TRIES = 5
_TRY_AGAIN = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock


class Writer:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._numbers = itertools.count()
        self._waiting: queue.PriorityQueue[tuple[bool, int, Callable[[Session], Any], Future[Any]]]
        self._waiting = queue.PriorityQueue()

    async def do(self, work: Callable[[Session], Result], *, later: bool = False) -> Result:
        """Runs `work` in a transaction of its own; a deadlock is tried again. Raises SQLAlchemyError.

        later: whatever else waits goes first."""
        done: Future[Result] = Future()
        self._waiting.put((later, next(self._numbers), work, done))
        self._thread.submit(self._next)  # takes the first of those that wait, which may be another
        return await asyncio.wrap_future(done)

    def _next(self) -> None:
        _, _, work, done = self._waiting.get_nowait()
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(self._do(work))
        except BaseException as problem:
            done.set_exception(problem)

    def _do(self, work: Callable[[Session], Result]) -> Result:
        for attempt in range(1, TRIES + 1):
            try:
                with self._database.write() as session:
                    return work(session)
            except DBAPIError as problem:
                if attempt == TRIES or getattr(problem.orig, "sqlstate", None) not in _TRY_AGAIN:
                    raise
                log.info("deadlock, try %d", attempt)
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._thread.shutdown()
