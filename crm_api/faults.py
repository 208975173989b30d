"""Whose fault it is when the database says no: what was asked of it, or its own, which passes."""

import sqlite3
from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# classes of SQLSTATE (PostgreSQL, appendix A)
_OF_WHAT_WAS_ASKED = {"22", "23", "54"}  # data, integrity, a limit of the program
_OF_THE_DATABASE = {"08", "25", "28", "40", "53", "55", "57", "58", "XX"}
_SQLITE_AWAY = ("BUSY", "LOCKED", "FULL", "IOERR", "READONLY", "CANTOPEN", "NOMEM", "CORRUPT", "NOTADB", "PROTOCOL")


class Fault(Enum):
    asked = auto()
    database = auto()
    unclear = auto()


def whose(problem: BaseException) -> Fault:
    """An error that is no database's at all came of what was asked."""
    if isinstance(problem, PoolTimeout):  # all connections are waiting for it
        return Fault.database
    if isinstance(problem, DBAPIError) and problem.connection_invalidated:
        return Fault.database
    cause = problem.orig if isinstance(problem, DBAPIError) else problem
    if isinstance(cause, psycopg.Error):
        kind = (cause.sqlstate or "08")[:2]
        return (
            Fault.asked if kind in _OF_WHAT_WAS_ASKED else Fault.database if kind in _OF_THE_DATABASE else Fault.unclear
        )
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "").removeprefix("SQLITE_")
        if name.startswith(_SQLITE_AWAY):
            return Fault.database
        return Fault.unclear if isinstance(cause, sqlite3.OperationalError) else Fault.asked
    return Fault.asked


def is_away(problem: BaseException) -> bool:
    """Whether to try the same again in a moment may help."""
    return whose(problem) is Fault.database
