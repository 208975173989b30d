"""The two databases of a house, CRM and ledger, on SQLite or PostgreSQL: fresh for each fault, read, and locked."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg

from local import product
from local.postgresql import Cluster
from shared.turns import Turns

Rows = list[tuple[Any, ...]]


class Stores(Protocol):
    """One fault's databases."""

    crm_url: str
    ledger_url: str

    def crm(self, query: str) -> Rows: ...

    def ledger(self, query: str) -> Rows: ...

    def crm_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]:
        """Nobody else can write meanwhile; they can read. in_turn=False: on SQLite, as somebody does who knows nothing
        of our queue for the file, a backup for instance."""

    def ledger_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]: ...

    def ledger_is_free(self) -> bool:
        """Whether nobody has all of it for himself at this moment."""


class Databases(Protocol):
    def start(self) -> None: ...

    def fresh(self, folder: Path) -> Stores:
        """Migrated, with the key that the load uses."""

    def stop(self) -> None: ...


class SqliteStores:
    def __init__(self, folder: Path) -> None:
        self.crm_file, self.ledger_file = folder / "posthaste.sqlite", folder / "ledger.sqlite"
        self.crm_url, self.ledger_url = f"sqlite:///{self.crm_file}", f"sqlite:///{self.ledger_file}"

    def crm(self, query: str) -> Rows:
        return _sqlite_rows(self.crm_file, query)

    def ledger(self, query: str) -> Rows:
        return _sqlite_rows(self.ledger_file, query)

    def crm_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]:
        return _sqlite_locked(self.crm_file, in_turn)

    def ledger_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]:
        return _sqlite_locked(self.ledger_file, in_turn)

    def ledger_is_free(self) -> bool:
        with Turns(self.ledger_file).path.open("w") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.closing(sqlite3.connect(self.ledger_file, timeout=0, isolation_level=None)) as asks:
                    asks.execute("BEGIN IMMEDIATE")
            except (BlockingIOError, sqlite3.OperationalError):
                return False
        return True


def _sqlite_rows(file: Path, query: str) -> Rows:
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
        return connection.execute(query).fetchall()


@contextlib.contextmanager
def _sqlite_locked(file: Path, in_turn: bool) -> Iterator[None]:
    turns = Turns(file)
    connection = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        with turns.take() if in_turn else contextlib.nullcontext():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")
    finally:
        connection.close()
        turns.close()


class SqliteDatabases:
    def __init__(self, folder: Path) -> None:
        self._template = folder / "template"

    def start(self) -> None:
        shutil.rmtree(self._template, ignore_errors=True)
        self._template.mkdir(parents=True)
        url = SqliteStores(self._template).crm_url
        product.migrate(product.environment(self._template, database_url=url))

    def fresh(self, folder: Path) -> SqliteStores:
        made = SqliteStores(folder)
        shutil.copyfile(SqliteStores(self._template).crm_file, made.crm_file)
        return made

    def stop(self) -> None:
        pass


class PostgresqlStores:
    def __init__(self, crm_url: str, ledger_url: str) -> None:
        self.crm_url, self.ledger_url = crm_url, ledger_url

    def crm(self, query: str) -> Rows:
        return _postgresql_rows(self.crm_url, query)

    def ledger(self, query: str) -> Rows:
        return _postgresql_rows(self.ledger_url, query)

    def crm_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]:
        return _postgresql_locked(self.crm_url, "delivery")

    def ledger_locked(self, *, in_turn: bool = True) -> contextlib.AbstractContextManager[object]:
        return _postgresql_locked(self.ledger_url, "attempt")

    def ledger_is_free(self) -> bool:
        return True


def _postgresql_rows(url: str, query: str) -> Rows:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


@contextlib.contextmanager
def _postgresql_locked(url: str, table: str) -> Iterator[None]:
    """One table: of two, one might be held by who waits for the other, and PostgreSQL would end one of us."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
        yield
        connection.execute("ROLLBACK")


class PostgresqlDatabases:
    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.cluster = Cluster(say=say, durable=True)
        self._folder, self._made = folder, 0

    def start(self) -> None:
        self.cluster.start()
        self._execute("CREATE DATABASE crm_template")
        folder = self._folder / "template"
        folder.mkdir(parents=True, exist_ok=True)
        product.migrate(product.environment(folder, database_url=self.cluster.url_for("crm_template")))

    def fresh(self, folder: Path) -> PostgresqlStores:
        self._made += 1
        crm, ledger = f"crm_{self._made}", f"ledger_{self._made}"
        self._execute(f"CREATE DATABASE {crm} TEMPLATE crm_template")
        self._execute(f"CREATE DATABASE {ledger}")
        return PostgresqlStores(self.cluster.url_for(crm), self.cluster.url_for(ledger))

    def stop(self) -> None:
        self.cluster.stop()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.cluster.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def databases(kind: str, folder: Path, say: Callable[[str], None]) -> Databases:
    """kind: sqlite or postgresql."""
    return SqliteDatabases(folder) if kind == "sqlite" else PostgresqlDatabases(folder, say)
