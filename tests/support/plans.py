"""What a database was asked, and how it goes about it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlmodel import Session

from crm_api.db import Database

Asked = tuple[str, Any]  # statement, parameters


@contextmanager
def heard_by(database: Database) -> Iterator[list[Asked]]:
    """Every statement inside the block."""
    heard: list[Asked] = []

    def hear(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)


def plans(session: Session, asked: Sequence[Asked]) -> list[str]:
    """The lines of the query plans of all statements."""
    connection = session.connection().connection.dbapi_connection
    assert connection is not None
    explain = "EXPLAIN QUERY PLAN " if session.get_bind().dialect.name == "sqlite" else "EXPLAIN "
    lines = []
    for statement, parameters in asked:
        cursor = connection.cursor()
        cursor.execute(explain + statement, parameters)
        lines += [str(row[-1]) for row in cursor.fetchall()]
    return lines
