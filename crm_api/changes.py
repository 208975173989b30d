"""Who changed what: names of changed things ("message:<id>", "messages", "outbox") reach every process at once.

A transaction announces topics; they become visible with its commit. On PostgreSQL they travel by NOTIFY. On SQLite
they are rows of `change`, and `PRAGMA data_version` tells cheaply that another connection has committed.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import delete, insert, text
from sqlmodel import Field, Session, SQLModel

from shared.clock import now

log = logging.getLogger(__name__)

SQLITE_POLL_SECONDS = 0.01
FILE_POLL_SECONDS = 0.05
KEPT = timedelta(minutes=5)
EVERYTHING = "*"  # something was missed: whoever listens should look again
_CHANNEL = "posthaste"
_MAX_NOTIFY_BYTES = 7900  # PostgreSQL's limit is 8000


class Change(SQLModel, table=True):
    """SQLite only. Rows older than KEPT are swept by dispatch; an id is never used again."""

    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    topic: str
    at: float = Field(description="Unix seconds", index=True)


def announce(session: Session, *topics: str) -> None:
    """Makes the topics known when, and only when, this transaction commits."""
    session.info.setdefault("topics", set()).update(topics)


def publish_topics(session: Session) -> None:
    topics = sorted(session.info.pop("topics", ()))
    if not topics:
        return
    if session.get_bind().dialect.name == "sqlite":
        at = time.time()
        session.execute(insert(Change), [{"topic": topic, "at": at} for topic in topics])
        return
    payload = " ".join(topics)
    if len(payload.encode()) > _MAX_NOTIFY_BYTES:
        payload = EVERYTHING
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": _CHANNEL, "payload": payload})


def sweep(session: Session) -> None:
    """Drops announcements that everybody has heard."""
    session.execute(delete(Change).where(Change.at < (now() - KEPT).timestamp()))  # type: ignore[arg-type]


class Subscription:
    """Topics that came since the last look; many changes in one moment are one look."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._event = asyncio.Event()

    def add(self, topics: set[str]) -> None:
        self._topics |= topics
        self._event.set()

    async def next(self, seconds: float | None = None) -> set[str]:
        """Waits for a change, at most so many seconds; the set is empty if none came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        topics, self._topics = self._topics, set()
        self._event.clear()
        return topics

    async def until(self, topics: set[str], seconds: float) -> bool:
        """Whether one of these topics came within so many seconds; returns as soon as one does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := deadline - loop.time()) > 0:
            if await self.next(left) & {*topics, EVERYTHING}:
                return True
        return False


class ChangeFeed:
    """Hears every commit's topics and hands them to the subscriptions. Lives in one event loop."""

    def __init__(self, url: str, files: Mapping[str, Path] | None = None) -> None:
        """files: topic → an SQLite file of another process; any commit to it is a change of that topic."""
        self._url = url
        self._files = files or {}
        self._subscriptions: set[Subscription] = set()
        self._calls: list[tuple[str, Callable[[], None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    async def start(self) -> None:
        listen = self._listen_sqlite if self._url.startswith("sqlite") else self._listen_postgresql
        self._tasks = [asyncio.create_task(self._keep(listen), name="changes")]
        for topic, path in self._files.items():
            listen_file = partial(self._listen_file, topic, path)
            self._tasks.append(asyncio.create_task(self._keep(listen_file), name=f"changes of {topic}"))

    async def close(self) -> None:
        self.closed = True
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tell({EVERYTHING})

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def on(self, topic: str, call: Callable[[], None]) -> None:
        """Calls it in the feed's loop at each change of the topic: for what must be done at once and takes no time."""
        self._calls.append((topic, call))

    def _tell(self, topics: set[str]) -> None:
        for topic, call in self._calls:
            if topic in topics or EVERYTHING in topics:
                call()
        for subscription in self._subscriptions:
            subscription.add(topics)

    async def _keep(self, listen: Any) -> None:
        while True:
            try:
                async for topics in listen():
                    self._tell(topics)
            except (sqlite3.Error, psycopg.Error, OSError) as problem:
                log.warning("changes are not heard for a moment: %s", problem)
                await asyncio.sleep(1)
                self._tell({EVERYTHING})

    async def _listen_sqlite(self) -> AsyncIterator[set[str]]:
        path = self._url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM change").fetchone()
            version = None
            while True:
                (current,) = connection.execute("PRAGMA data_version").fetchone()
                if current != version:
                    version = current
                    rows = connection.execute(
                        "SELECT id, topic FROM change WHERE id > ? ORDER BY id", (last,)
                    ).fetchall()
                    if rows:
                        last = rows[-1][0]
                        yield {topic for _, topic in rows}
                await asyncio.sleep(SQLITE_POLL_SECONDS)

    async def _listen_file(self, topic: str, path: Path) -> AsyncIterator[set[str]]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            version = None
            while True:
                if self._subscriptions:  # nobody listens: nobody need look
                    (current,) = connection.execute("PRAGMA data_version").fetchone()
                    if current != version:
                        version = current
                        yield {topic}
                await asyncio.sleep(FILE_POLL_SECONDS)

    async def _listen_postgresql(self) -> AsyncIterator[set[str]]:
        url = self._url.replace("postgresql+psycopg://", "postgresql://")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}")
            yield {EVERYTHING}
            async for notice in connection.notifies():
                yield set(notice.payload.split(" "))
