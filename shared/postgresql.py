"""What both sides need to know of a connection to PostgreSQL."""

from typing import Any

import psycopg


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler like PgBouncer stands between: it makes up the process id that it names (protocol, "Cancelling
    Requests in Progress"). The connection should be one that commits each statement."""
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    return bool(pid != connection.info.backend_pid)


def prepare_nothing_behind_pooler(connection: psycopg.Connection[Any]) -> None:
    """A pooler gives each transaction to whichever server is free, where nothing of ours has been prepared."""
    if is_pooled(connection):
        connection.prepare_threshold = None
