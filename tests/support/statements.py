"""Counts what a database is asked to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from crm_api.db import Database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The SQL of every statement inside the block; an executemany is one."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
