"""Who changed what: names of changed things ("message:<id>", "messages", "outbox") reach every process at once.

A transaction announces topics; they become visible with its commit. On PostgreSQL they travel by NOTIFY. On SQLite
they are rows of `change`, and `PRAGMA data_version` tells cheaply that another connection has committed.

A pooler that gives away the connection after each transaction (PgBouncer's transaction mode) never passes a NOTIFY on.
So each feed sends one to itself first. If it does not come, changes are written as rows here, too, and asked for.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import delete, insert, text
from sqlmodel import Field, Session, SQLModel

from shared.clock import now
from shared.tasks import run_forever

log = logging.getLogger(__name__)

SQLITE_POLL_SECONDS = 0.01
FILE_POLL_SECONDS = 0.05
DEAF_POLL_SECONDS = 0.25
DEAF_EVERYTHING_SECONDS = 5.0  # for changes of processes that know nothing of our pooler
PROBE_SECONDS = 3.0  # a NOTIFY takes some milliseconds
PROBE_AGAIN_SECONDS = 300.0
KEPT = timedelta(minutes=5)
EVERYTHING = "*"  # something was missed: whoever listens should look again
CHANNEL = "posthaste"
_MAX_NOTIFY_BYTES = 7900  # PostgreSQL's limit is 8000


class Change(SQLModel, table=True):
    """On SQLite, and where no NOTIFY is heard. Rows older than KEPT are swept by dispatch; no id is used again."""

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
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": as_payload(topics)})
    if deafness.rows_too:
        session.execute(insert(Change), [{"topic": topic, "at": time.time()} for topic in topics])


def as_payload(topics: Iterable[str]) -> str:
    payload = " ".join(topics)
    return payload if len(payload.encode()) <= _MAX_NOTIFY_BYTES else EVERYTHING


@dataclass
class _Deafness:
    """Of this process: whether a NOTIFY does not arrive, so that what changes is written as rows, too."""

    rows_too: bool = False


deafness = _Deafness()


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

    def __init__(
        self,
        url: str,
        files: Mapping[str, Path] | None = None,
        tell_deaf: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """files: topic → an SQLite file of another process; any commit to it is a change of that topic.
        tell_deaf: is called with whether what others NOTIFY is not heard, each time that it was tried."""
        self._tell_deaf = tell_deaf
        self._url = url
        self._files = files or {}
        self._subscriptions: set[Subscription] = set()
        self._calls: list[tuple[str, Callable[[], None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    async def start(self) -> None:
        listen = self._listen_sqlite if self._url.startswith("sqlite") else self._listen_postgresql
        self._tasks = [run_forever(self._keep(listen), "changes")]
        for topic, path in self._files.items():
            listen_file = partial(self._listen_file, topic, path)
            self._tasks.append(run_forever(self._keep(listen_file), f"changes of {topic}"))

    async def close(self) -> None:
        self.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
            await connection.execute(f"LISTEN {CHANNEL}")
            yield {EVERYTHING}
            deaf = not await _hears_itself(connection, url)
            if deaf and not deafness.rows_too:
                log.warning(
                    "a NOTIFY is not heard over this connection: what others change is asked for, four times a second. "
                    "DATABASE_URL must lead to PostgreSQL itself, or to a pooler in session mode"
                )
            deafness.rows_too = deaf
            self._tell_deaf(deaf)
            if not deaf:
                yield {EVERYTHING}  # what came while the probe was under way
                async for notice in connection.notifies():
                    yield set(notice.payload.split(" "))
                return
        async for topics in self._ask_postgresql(url):
            yield topics

    async def _ask_postgresql(self, url: str) -> AsyncIterator[set[str]]:
        """For a while; then it is tried again whether a NOTIFY is heard."""
        loop = asyncio.get_running_loop()
        end, everything_at = loop.time() + PROBE_AGAIN_SECONDS, 0.0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:
            seen: set[int] = set()
            newest = -1
            while loop.time() < end:
                # numbers are given before a commit: one that is lower may come later
                rows = await (await connection.execute(_NEWER, (newest - OVERTAKEN,))).fetchall()
                topics = {topic for number, topic in rows if number not in seen and newest >= 0}
                newest = max((number for number, _ in rows), default=max(newest, 0))
                seen = {number for number, _ in rows}
                if loop.time() >= everything_at:
                    everything_at = loop.time() + DEAF_EVERYTHING_SECONDS
                    topics.add(EVERYTHING)
                if topics:
                    yield topics
                await asyncio.sleep(DEAF_POLL_SECONDS)


OVERTAKEN = 500  # changes
_NEWER = b"SELECT id, topic FROM change WHERE id > %s ORDER BY id DESC LIMIT 5000"


async def _hears_itself(connection: psycopg.AsyncConnection[Any], url: str) -> bool:
    """Whether what another connection says is heard over this one."""
    probe = f"probe:{uuid4()}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as other:
        await other.execute("SELECT pg_notify(%s, %s)", (CHANNEL, probe))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PROBE_SECONDS
    while (left := deadline - loop.time()) > 0:
        async for notice in connection.notifies(timeout=left, stop_after=1):
            if notice.payload == probe:
                return True
    return False
