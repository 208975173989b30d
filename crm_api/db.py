"""The database: one engine, sessions that read, sessions that write, and the types that both databases share.

`read()` and `write()` are the only ways in. A write is one transaction with one commit, at the edge of a request
or task; the topics it announced are made known with that same commit (see crm_api.changes).
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Dialect, Engine, String, create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

from crm_api.changes import publish_topics
from crm_api.hot import Hot
from shared.postgresql import prepare_nothing_behind_pooler
from shared.turns import Turns

SQLITE_BUSY_MS = 30_000
FRESH_SECONDS = 1.0
# libpq's; what swallows packets would else be waited for by every request, for minutes. The URL may say otherwise
PATIENCE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC: timestamptz on PostgreSQL, sortable text on SQLite. Refuses naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# text that is compared byte by byte on both databases: what ranges and keyset paging need
ByteOrdered = String().with_variant(String(collation="C"), "postgresql")


class Database:
    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        # threads that fight for SQLite's write lock sleep between tries; a queue of our own does not
        self._writing: AbstractContextManager[Any] = threading.Lock() if self.sqlite else nullcontext()
        if self.sqlite:
            path = Path(url.removeprefix("sqlite:///"))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._turns = Turns(path)
            self.engine = create_engine(url, pool_size=50, max_overflow=0, hide_parameters=True)
            _prepare_sqlite(self.engine)
        else:
            self.engine = _postgresql(url, pool_size=20)
        # psycopg begins transactions by itself, each a journey of its own, unless it is told not to
        self._hot_engine = self.engine if self.sqlite else _postgresql(url, pool_size=2, isolation_level="AUTOCOMMIT")
        self._write_engine = self.engine.execution_options(immediate=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: commits when the block ends, rolls back when it raises."""
        with self._alone(), Session(self._write_engine, expire_on_commit=False) as session, session.begin():
            yield session
            publish_topics(session)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._writing, self._turns.take() if self.sqlite else nullcontext():
            yield

    @contextmanager
    def hot(self) -> Iterator[Hot]:
        """For the few statements that every click costs. Raises SQLAlchemy's errors."""
        dialect = self._hot_engine.dialect
        errors = dialect.loaded_dbapi.Error
        connection = self._hot_engine.raw_connection()
        try:
            yield Hot(connection.driver_connection, dialect, self._alone)
        except errors as problem:
            if dialect.is_disconnect(problem, connection.driver_connection, None):
                connection.invalidate(problem)
            raise DBAPIError.instance(None, None, problem, errors, dialect=dialect) from problem
        finally:
            connection.close()

    def close(self) -> None:
        self.engine.dispose()
        self._hot_engine.dispose()
        if self.sqlite:
            self._turns.close()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={SQLITE_BUSY_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _postgresql(url: str, **more: Any) -> Engine:
    asked = make_url(url).query
    patience = {name: value for name, value in PATIENCE.items() if name not in asked}
    engine = create_engine(
        url, max_overflow=20, pool_use_lifo=True, hide_parameters=True, connect_args=patience, **more
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        try:
            was, connection.autocommit = connection.autocommit, True
            prepare_nothing_behind_pooler(connection)
            connection.autocommit = was
        except BaseException:  # nobody else has it yet
            connection.close()
            raise

    # whether a connection still is one is asked only if it rested: to ask is a journey
    @event.listens_for(engine, "checkin")
    def rests(_: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wakes(connection: Any, record: Any, _: Any) -> None:
        if time.monotonic() - record.info.get("rests_since", math.inf) > FRESH_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as problem:
                raise InvalidatePoolError from problem

    return engine
