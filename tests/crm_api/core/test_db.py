"""Sessions: one commit at the edge, one writer at a time on SQLite, times in UTC."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlmodel import select

from crm_api.auth.models import User
from crm_api.db import Database


def user(name: str, at: datetime | None = None) -> User:
    return User(email=f"{name}@example.com", name=name, password_hash="-", created_at=at or datetime.now(UTC))


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(user("ada"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as session:
        assert session.exec(select(User)).all() == []


def test_times_come_back_in_utc_and_naive_ones_are_refused(database: Database) -> None:
    at = datetime(2026, 11, 21, 15, 2, 3, 456789, timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(user("ada", at))
    with database.read() as session:
        found = session.exec(select(User)).one().created_at
    assert (found, found.tzinfo) == (at, UTC)
    with pytest.raises(Exception, match="without a time zone"), database.write() as session:
        session.add(user("bob", datetime(2026, 1, 1)))


def test_writers_wait_for_each_other_and_all_get_through(database: Database) -> None:
    def write(number: int) -> None:
        with database.write() as session:
            session.add(user(f"user{number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert len(session.exec(select(User)).all()) == 40


def test_sqlite_keeps_what_it_has_said_yes_to(database: Database) -> None:
    if not database.sqlite:
        return
    with database.read() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert session.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
