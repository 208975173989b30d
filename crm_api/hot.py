"""The few statements that run for every click, on the driver's own connection.

SQLAlchemy adds 60 to 100 µs to each, more than either database takes for it, and a journey to PostgreSQL and back.
It still gives the connection and the types of the columns, and all that does not run a thousand times a second
stays with it. How to use: `Database.hot()`.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table

from crm_api.changes import CHANNEL, Change, as_payload, deafness

Row = Mapping[str, Any]  # column → value

_changes: Table = Change.__table__  # type: ignore[attr-defined]


class Hot:
    """A connection of sqlite3's or psycopg's that commits each statement, unless BEGIN was said."""

    def __init__(
        self, driver: Any, dialect: Dialect, alone: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self._driver, self._dialect, self._alone = driver, dialect, alone
        self._sqlite = dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits when the block ends, rolls back when it raises. To PostgreSQL all goes in one journey, so nothing
        can be read inside, and errors come at the end."""
        with self._alone():
            try:
                with nullcontext() if self._sqlite else self._driver.pipeline():
                    self._driver.execute("BEGIN IMMEDIATE" if self._sqlite else "BEGIN")
                    yield
                    self._driver.execute("COMMIT")
            except BaseException:
                with suppress(self._dialect.loaded_dbapi.Error):  # it may be the connection that has died
                    self._driver.rollback()
                raise

    def select(self, query: str, *lists: Sequence[str]) -> list[tuple[Any, ...]]:
        """query: with each list as IN {}."""
        if self._sqlite:
            every = query.format(*["(SELECT value FROM json_each(?))"] * len(lists))
            found = self._driver.execute(every, [json.dumps(each) for each in lists])
        else:
            found = self._driver.execute(query.replace("IN {}", "= ANY(%s)"), lists)
        rows: list[tuple[Any, ...]] = found.fetchall()
        return rows

    def insert(self, table: Table, rows: Sequence[Row], unless_there: bool = False) -> None:
        """Each row names every column."""
        self._each(_insert(table, unless_there, self._dialect), rows)

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        """By the first column that the rows name."""
        if rows:
            self._each(_update(table, tuple(rows[0]), self._dialect), rows)

    def announce(self, topics: Iterable[str]) -> None:
        """As crm_api.changes.announce does."""
        told = sorted(topics)
        if self._sqlite:
            at = time.time()
            self.insert(_changes, [{"id": None, "topic": topic, "at": at} for topic in told])
            return
        self._driver.execute("SELECT pg_notify(%s, %s)", (CHANNEL, as_payload(told)))
        if deafness.rows_too:
            for topic in told:  # the database gives the numbers
                self._driver.execute("INSERT INTO change (topic, at) VALUES (%s, %s)", (topic, time.time()))

    def _each(self, prepared: "_Prepared", rows: Sequence[Row]) -> None:
        statement, values = prepared
        if self._sqlite:
            self._driver.executemany(statement, [values(row) for row in rows])
            return
        for row in rows:  # psycopg's executemany takes longer, and they travel together anyway
            self._driver.execute(statement, values(row))


_Prepared = tuple[str, Callable[[Row], list[Any]]]


@lru_cache
def _insert(table: Table, unless_there: bool, dialect: Dialect) -> _Prepared:
    names = [column.name for column in table.columns]
    marks = ", ".join([_mark(dialect)] * len(names))
    also = " ON CONFLICT DO NOTHING" if unless_there else ""
    insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}){also}"  # noqa: S608 (all names are ours)
    return insert, _binder(table, names, dialect)


@lru_cache
def _update(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Prepared:
    key, *others = names
    mark = _mark(dialect)
    changes = ", ".join(f"{name} = {mark}" for name in others)
    update = f"UPDATE {table.name} SET {changes} WHERE {key} = {mark}"  # noqa: S608
    return update, _binder(table, [*others, key], dialect)


def _mark(dialect: Dialect) -> str:
    return "?" if dialect.name == "sqlite" else "%s"


def _binder(table: Table, names: Sequence[str], dialect: Dialect) -> Callable[[Row], list[Any]]:
    """What makes a row the statement's parameters, by the types of the columns."""
    types = [(name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names]

    def values(row: Row) -> list[Any]:
        return [row[name] if bind is None or row[name] is None else bind(row[name]) for name, bind in types]

    return values
