"""The change feed: told with the commit, told to every process, never told for what was rolled back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from crm_api import changes
from crm_api.changes import EVERYTHING, ChangeFeed, Subscription, announce
from crm_api.db import Database


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Subscription]:
    feed = ChangeFeed(database.url)
    with feed.subscribe() as subscription:
        await feed.start()
        try:
            # the listener is up when it hears this
            await heard(subscription, database, "hello")
            yield subscription
        finally:
            await feed.close()


async def heard(subscription: Subscription, database: Database, *topics: str) -> set[str]:
    found: set[str] = set()
    async with asyncio.timeout(30):
        while not found >= set(topics):
            await asyncio.to_thread(say, database, *topics)
            found |= await subscription.next(0.2) - {EVERYTHING}
    return found


def say(database: Database, *topics: str) -> None:
    with database.write() as session:
        announce(session, *topics)


async def test_topics_of_a_commit_are_heard(database: Database) -> None:
    async with listening(database) as subscription:
        assert await heard(subscription, database, "message:1", "messages") >= {"message:1", "messages"}


async def test_a_rollback_tells_nothing(database: Database) -> None:
    async with listening(database) as subscription:
        try:
            with database.write() as session:
                announce(session, "never")
                raise RuntimeError("rolled back")
        except RuntimeError:
            pass
        assert "never" not in await heard(subscription, database, "after")


async def test_very_many_topics_become_look_at_everything_on_postgresql(database: Database) -> None:
    many = [f"message:{number:036d}" for number in range(500)]
    async with listening(database) as subscription:
        await asyncio.to_thread(say, database, *many)
        found: set[str] = set()
        async with asyncio.timeout(30):
            while not (EVERYTHING in found or found >= set(many)):
                found |= await subscription.next(1)


async def test_a_lost_listener_comes_back_and_says_look_again(database: Database) -> None:
    if database.sqlite:
        return  # it listens to a file
    async with listening(database) as subscription:
        with database.write() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
        found: set[str] = set()
        async with asyncio.timeout(30):
            while EVERYTHING not in found:
                found |= await subscription.next(1)
        assert await heard(subscription, database, "again")


@pytest.mark.parametrize("turns", range(4))
async def test_whoever_is_told_to_stop_at_the_moment_of_a_change_stops(turns: int) -> None:
    """turns: of the event loop, between the two. Else a task that hears changes would go on, and its process too."""
    subscription = Subscription()

    async def listen() -> None:
        while True:
            await subscription.next(30)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    subscription.add({"outbox"})
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


def test_old_rows_are_swept_and_ids_never_come_again(database: Database) -> None:
    if not database.sqlite:
        return
    say(database, "old")
    with database.write() as session:
        (last,) = session.execute(text("SELECT max(id) FROM change")).one()
        session.execute(text("UPDATE change SET at = 0"))
        changes.sweep(session)
        assert session.execute(text("SELECT count(*) FROM change")).scalar_one() == 0
    say(database, "new")
    with database.read() as session:
        assert session.execute(text("SELECT max(id) FROM change")).scalar_one() > last
