"""The ledger's database: SQLite or PostgreSQL behind one thread that commits in groups.

While one commit is on its way to the disk, further operations gather; the next transaction takes them all.
So the cost of a commit is shared by everything in flight, and nobody waits longer than for two commits.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import psycopg

from shared.postgresql import prepare_nothing_behind_pooler
from shared.tasks import WatchedThread
from shared.turns import Turns

log = logging.getLogger("ledger")

VERSION = 1
GROUP = 500  # operations in one transaction
PAUSE_SECONDS = 0.5  # before a database that is locked, full or away is asked again
BUSY_SECONDS = 10
CLOSE_SECONDS = 5  # for what waits at the end; a database that has gone silent may never answer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempt (
  key {key} PRIMARY KEY,
  attempt INTEGER NOT NULL,
  state TEXT NOT NULL,
  owner {key} NOT NULL,
  token BIGINT NOT NULL,
  lease_until DOUBLE PRECISION NOT NULL,
  outcome {bytes},
  changed_at DOUBLE PRECISION NOT NULL
){options};
CREATE INDEX IF NOT EXISTS attempt_started ON attempt (owner) WHERE state = 'started';
CREATE TABLE IF NOT EXISTS ledger (version INTEGER NOT NULL);
INSERT INTO ledger (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM ledger);
"""


class LedgerError(Exception):
    """The ledger cannot be used at all: a defect or a wrong setting, not a database that is away."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement with ? for its values. Gives the first row if it reads, else how many rows it changed."""

    sql: str
    values: tuple[Any, ...]
    reads: bool = False


_OPEN = Operation("", ())


class _Database(Protocol):
    away: tuple[type[Exception], ...]  # what is raised when trying again later can help

    def connect(self) -> None: ...

    def run(self, operations: list[Operation]) -> list[Any]:
        """All in one transaction, committed when it returns."""

    def close(self) -> None: ...


class _Sqlite:
    away: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns = Turns(path)
        self._connection: sqlite3.Connection | None = None

    def connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(
            "BEGIN IMMEDIATE;" + _SCHEMA.format(key="TEXT", bytes="BLOB", options=" WITHOUT ROWID") + "COMMIT;"
        )
        _check_version(connection.execute("SELECT version FROM ledger").fetchone()[0])

    def run(self, operations: list[Operation]) -> list[Any]:
        connection = self._connection
        assert connection is not None
        if all(operation.reads for operation in operations):
            return [connection.execute(each.sql, each.values).fetchone() for each in operations]
        with self._turns.take():
            connection.execute("BEGIN IMMEDIATE")
            try:
                results = []
                for operation in operations:
                    cursor = connection.execute(operation.sql, operation.values)
                    results.append(cursor.fetchone() if operation.reads else cursor.rowcount)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return results

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._turns.close()


class _Postgresql:
    away: tuple[type[Exception], ...] = (psycopg.OperationalError,)

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def connect(self) -> None:
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=BUSY_SECONDS)
        self._connection = connection
        prepare_nothing_behind_pooler(connection)
        with connection.transaction():
            # several mail rooms may start at once, and IF NOT EXISTS alone does not keep them apart
            connection.execute("SELECT pg_advisory_xact_lock(7650241)")
            connection.execute(_SCHEMA.format(key='TEXT COLLATE "C"', bytes="BYTEA", options="").encode())
            version = connection.execute("SELECT version FROM ledger").fetchone()
        _check_version(version[0] if version else 0)

    def run(self, operations: list[Operation]) -> list[Any]:
        if self._connection is None or self._connection.closed:
            self.connect()
        connection = self._connection
        assert connection is not None
        cursors = []
        try:
            with connection.pipeline(), connection.transaction():
                for operation in operations:
                    cursor = connection.cursor()
                    cursor.execute(operation.sql.replace("?", "%s").encode(), operation.values)
                    cursors.append(cursor)
        except psycopg.OperationalError:
            connection.close()  # whatever is left of it: begin again with a new one
            raise
        return [
            cursor.fetchone() if operation.reads else cursor.rowcount
            for operation, cursor in zip(operations, cursors, strict=True)
        ]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _check_version(version: int) -> None:
    if version != VERSION:
        raise LedgerError(f"The ledger has version {version}; this mail room knows version {VERSION}.")


class Store:
    """Takes operations from the event loop, runs them in groups in its own thread."""

    def __init__(self, database: _Database) -> None:
        self.trouble = ""
        self._database = database
        self._waiting: queue.SimpleQueue[tuple[Operation, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: WatchedThread | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Raises LedgerError; a database that is away is waited for by `do`, but not here."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = self._loop.create_future()
        # all in the one thread that nobody waits for at the end of the process: even this may take for ever
        self._thread = WatchedThread(partial(self._open_and_run, opened), "ledger", self._loop)
        self._thread.start()
        await opened

    def close(self) -> None:
        """What still waits is done first, if the database answers in time."""
        self._stopping = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                log.warning("the ledger does not answer, left as it is")
                return
        self._database.close()

    def _open_and_run(self, opened: asyncio.Future[Any]) -> None:
        try:
            self._database.connect()
        except self._database.away as problem:
            return self._answer([(_OPEN, opened)], [LedgerError(f"The ledger cannot be opened: {problem}")])
        except Exception as problem:
            return self._answer([(_OPEN, opened)], [LedgerError(str(problem))])
        self._answer([(_OPEN, opened)], [None])
        return self._run()

    async def do(self, operation: Operation) -> Any:
        self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.put((operation, waiter))
        return await waiter

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            ended = False
            while len(group) < GROUP:
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    ended = True
                    break
                group.append(item)
            self._run_group(group)
            if ended:
                return

    def _run_group(self, group: list[tuple[Operation, asyncio.Future[Any]]]) -> None:
        operations = [operation for operation, _ in group]
        while True:
            try:
                results = self._database.run(operations)
            except self._database.away as problem:
                if not self.trouble:
                    log.error("the ledger cannot be used, waiting for it", extra={"why": str(problem)})
                self.trouble = str(problem)
                if self._stopping:
                    return self._answer(group, [asyncio.CancelledError()] * len(group))
                time.sleep(PAUSE_SECONDS)
            except Exception as problem:
                if len(group) == 1:
                    return self._answer(group, [LedgerError(str(problem))])
                for item in group:  # one of them is at fault; the others must not suffer for it
                    self._run_group([item])
                return None
            else:
                if self.trouble:
                    log.info("the ledger can be used again")
                    self.trouble = ""
                return self._answer(group, results)

    def _answer(self, group: list[tuple[Operation, asyncio.Future[Any]]], results: list[Any]) -> None:
        def tell() -> None:
            for (_, waiter), result in zip(group, results, strict=True):
                if waiter.done():
                    continue
                if isinstance(result, asyncio.CancelledError):
                    waiter.cancel()
                elif isinstance(result, LedgerError):
                    waiter.set_exception(result)
                else:
                    waiter.set_result(result)

        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(tell)


def open_store(url: str) -> Store:
    """url: sqlite:///<path> or postgresql://…"""
    if url.startswith("sqlite:///"):
        return Store(_Sqlite(Path(url.removeprefix("sqlite:///"))))
    if url.startswith(("postgresql://", "postgres://")):
        return Store(_Postgresql(url))
    raise LedgerError("LEDGER_URL is sqlite:///<file> or postgresql://user:password@host/database")
