"""Behind PgBouncer: nothing is prepared where it would be lost, and that no NOTIFY comes is noticed and made up for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlmodel import col, func, select

from crm_api import changes
from crm_api.app import create_app
from crm_api.auth.keys import add_key
from crm_api.changes import Change, ChangeFeed, announce
from crm_api.db import Database
from crm_api.messages.models import Message
from crm_api.settings import CrmSettings
from email_service.ledger import Ledger
from local.errors import Unavailable
from local.postgresql import Cluster
from tests.support.databases import Template
from tests.support.people import KEY, add_user
from tests.support.pgbouncer import MODES, pooled


@pytest.fixture
def direct(postgresql: Cluster, database_template: Template) -> Iterator[str]:
    url = database_template.copy_postgresql()
    yield url
    database_template.drop_postgresql(url)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(direct: str, mode: str, say: Callable[[str], None]) -> Iterator[str]:
    try:
        with pooled(direct, mode, say) as made:
            yield made
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "deafness", changes._Deafness())
    monkeypatch.setattr("crm_api.hot.deafness", changes.deafness)


def open_database(url: str) -> Database:
    return Database(CrmSettings(database_url=SecretStr(url)).database)


def test_nothing_is_prepared_behind_a_pooler(url: str, tmp_path: Path) -> None:
    """psycopg prepares a statement when it runs for the sixth time."""
    settings = CrmSettings(data_dir=tmp_path, database_url=SecretStr(url))
    database = open_database(url)
    with database.write() as session:
        add_key(session, add_user(session), "tests", KEY)
    draft = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday."}
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {KEY}"}) as api:
        for _ in range(30):
            assert api.post("/api/v1/messages", json=draft).status_code == 202
            assert api.get("/api/v1/messages").status_code == 200
    with database.read() as session:
        assert session.exec(select(func.count(col(Message.id)))).one() == 30
    database.close()


async def test_the_ledger_prepares_nothing_there_either(direct: str, url: str) -> None:
    name = f"ledger_{uuid4().hex[:12]}"
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    ledger = Ledger(f"{url.rpartition('/')[0]}/{name}", "north/1:x")
    await ledger.open()
    for number in range(30):
        assert await ledger.claim(f"key {number}", 1, ledger.token(), 900)
        assert await ledger.look_up(f"key {number}") is not None
    await ledger.close()
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_directly_everything_is_prepared(direct: str) -> None:
    database = open_database(direct)
    with database.hot() as hot:
        assert hot._driver.prepare_threshold is not None
    database.close()


async def _heard_within(feed: ChangeFeed, database: Database, topics: set[str]) -> bool:
    """Whether a change of another connection is heard sooner than whoever missed it would look again by himself."""

    def change() -> None:
        with database.write() as session:
            announce(session, *topics)

    with feed.subscribe() as heard:
        for _ in range(20):  # what changes before the first question is heard as “something”
            await asyncio.to_thread(change)
            if await heard.next(1) & topics:
                return True
    return False


async def test_changes_are_heard_and_it_is_said_if_they_have_to_be_asked_for(
    url: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    database = open_database(url)
    feed = ChangeFeed(database.url, tell_deaf=told.put_nowait)
    await feed.start()
    async with asyncio.timeout(60):
        deaf = await told.get()
        assert deaf == (mode == "transaction")
        assert await _heard_within(feed, database, {"message:1", "outbox"})
        assert await _heard_within(feed, database, {"message:2"})
    assert ("a NOTIFY is not heard" in caplog.text) == deaf
    await feed.close()
    with database.read() as session:
        rows = session.exec(select(func.count(col(Change.id)))).one()
    assert (rows > 0) == deaf, "where NOTIFY works, nothing more is written"
    database.close()


@pytest.mark.parametrize("mode", ["transaction"], indirect=True)
async def test_what_the_fast_path_changes_is_heard_too(url: str) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    database = open_database(url)
    feed = ChangeFeed(database.url, tell_deaf=told.put_nowait)
    await feed.start()

    def change() -> None:
        with database.hot() as hot, hot.transaction():
            hot.announce(["messages", "outbox"])

    async with asyncio.timeout(60):
        assert await told.get()
        with feed.subscribe() as heard:
            while not await heard.next(0.5) >= {"messages", "outbox"}:
                await asyncio.to_thread(change)
    await feed.close()
    database.close()
