"""Rows into a database in bulk: one transaction a table, without indexes where that is faster."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

import psycopg
from psycopg import sql

TABLES = (
    "customer",
    "contact",
    "customer_entry",
    "customer_tag",
    "customer_word",
    "message",
    "message_word",
    "delivery",
    "attempt",
)
_MANY = 50_000  # rows from which on it is faster to make the indexes anew


class Sqlite:
    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA cache_size = -400000")

    def load(self, table: str, names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        holes = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        self._connection.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({holes})', rows)  # noqa: S608
        self._connection.commit()

    def without_indexes(self, rows: int) -> _Without:
        found = self._connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN "  # noqa: S608
            f"({', '.join('?' * len(TABLES))})",
            TABLES,
        )
        return _Without(self._do, found.fetchall() if rows >= _MANY else [])

    def _do(self, statement: str) -> None:
        self._connection.execute(statement)

    def settle(self) -> None:
        self._connection.commit()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._connection.close()


class Postgresql:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self._connection.execute("SET session_replication_role = replica")  # no look at foreign keys for each row
        self._connection.execute("SET synchronous_commit = off")
        self._connection.execute("SET maintenance_work_mem = '256MB'")

    def load(self, table: str, names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with self._connection.cursor().copy(copy) as stream:
            for values in rows:
                stream.write_row(values)

    def without_indexes(self, rows: int) -> _Without:
        found = self._connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s) "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            (list(TABLES),),
        )
        return _Without(self._do, found.fetchall() if rows >= _MANY else [])

    def _do(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    def settle(self) -> None:
        """What autovacuum does on a database that has been up for a while."""
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()


Store = Sqlite | Postgresql


class _Without:
    """Drops indexes, and makes them again in the end. indexes: (name, the statement that makes it)."""

    def __init__(self, do: Callable[[str], None], indexes: Iterable[tuple[str, str]]) -> None:
        self._do, self._indexes = do, list(indexes)

    def __enter__(self) -> None:
        for name, _ in self._indexes:
            self._do(f'DROP INDEX "{name}"')

    def __exit__(self, *_: object) -> None:
        for _name, statement in self._indexes:
            self._do(statement)
