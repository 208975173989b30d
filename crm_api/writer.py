"""Dispatch's one hand on the database: its transactions run one after the other in one thread.

SQLite has one writer anyway, and on PostgreSQL it keeps relay and outcomes of one process out of each other's way.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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

    async def do(self, work: Callable[[Session], Result]) -> Result:
        """Runs `work` in a transaction of its own; a deadlock is tried again. Raises SQLAlchemyError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

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
