"""Dispatch's one hand on the database."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlmodel import Session

from crm_api.db import Database
from crm_api.writer import Writer


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    writer = Writer(database)
    yield writer
    writer.close()


@asynccontextmanager
async def held_up(writer: Writer) -> AsyncIterator[None]:
    """It is in the middle of a transaction, which ends with the block."""
    begun, go_on = threading.Event(), threading.Event()

    def first(_: Session) -> None:
        begun.set()
        assert go_on.wait(30)

    busy = asyncio.create_task(writer.do(first, later=True))
    await asyncio.to_thread(begun.wait, 30)
    yield
    go_on.set()
    await busy


async def test_what_a_mailing_waits_for_comes_after_what_a_person_waits_for(writer: Writer) -> None:
    done: list[str] = []

    def doing(name: str, *, later: bool) -> asyncio.Task[None]:
        return asyncio.create_task(writer.do(lambda _: done.append(name), later=later))

    async with held_up(writer):
        waiting = [doing("mailing 1", later=True), doing("mailing 2", later=True)]
        waiting += [doing("person 1", later=False), doing("person 2", later=False)]
        await asyncio.sleep(0)  # all four stand in the queue
    await asyncio.gather(*waiting)
    assert done == ["person 1", "person 2", "mailing 1", "mailing 2"]


async def test_what_was_given_up_before_it_began_is_not_done(writer: Writer) -> None:
    done: list[str] = []
    async with held_up(writer):
        given_up = asyncio.create_task(writer.do(lambda _: done.append("given up")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
    await writer.do(lambda _: done.append("after"))
    assert done == ["after"]


async def test_an_error_reaches_who_asked_and_the_next_is_done(writer: Writer) -> None:
    def fail(_: Session) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await writer.do(fail)
    assert await writer.do(lambda _: 1) == 1
