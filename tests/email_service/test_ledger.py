"""The ledger on SQLite and PostgreSQL: of two workers one wins, and a stale one overwrites nothing."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from email_service.ledger import Ledger
from email_service.ledger_store import LedgerError
from shared.contracts import OutcomeKind
from tests.support.waiting import wait_until

ACCEPTED, DEFERRED, FAILED, UNKNOWN = (
    OutcomeKind.accepted,
    OutcomeKind.deferred,
    OutcomeKind.failed,
    OutcomeKind.unknown,
)
KEY = "0192f0c1-0000-7000-8000-000000000001.0"
LEASE = 900.0


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    cluster = request.getfixturevalue("postgresql")
    name = f"ledger_{secrets.token_hex(6)}"
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield cluster.url_for(name)
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
async def opened(ledger_url: str) -> AsyncIterator[Callable[[str], Ledger]]:
    ledgers: list[Ledger] = []

    async def open_one(owner: str) -> Ledger:
        ledger = Ledger(ledger_url, owner)
        await ledger.open()
        ledgers.append(ledger)
        return ledger

    yield open_one  # type: ignore[misc]
    for ledger in ledgers:
        await ledger.close()


async def test_the_way_of_one_delivery(opened) -> None:
    ledger = await opened("north/1:a")
    assert await ledger.look_up(KEY) is None
    token = ledger.token()
    assert await ledger.claim(KEY, 1, token, LEASE)
    row = await ledger.look_up(KEY)
    assert (row.attempt, row.state, row.owner, row.token) == (1, "started", "north/1:a", token)
    assert row.lease_until > time.time() + LEASE - 60
    assert await ledger.finish(KEY, 1, token, ACCEPTED, b"what came of it")
    row = await ledger.look_up(KEY)
    assert (row.state, row.outcome, row.final) == ("accepted", b"what came of it", True)


async def test_of_two_who_claim_at_once_one_wins(opened) -> None:
    ledgers = [await opened(f"north/{number}:x") for number in (1, 2)]
    for attempt in range(30):
        claims = [ledger.claim(f"{KEY}{attempt}", 1, ledger.token(), LEASE) for ledger in ledgers for _ in range(3)]
        assert sorted(await asyncio.gather(*claims)) == [False] * 5 + [True]


async def test_a_claim_that_comes_twice_is_one_claim(opened) -> None:
    """As when the commit's answer was lost and the group runs again."""
    ledger = await opened("north/1:a")
    token = ledger.token()
    assert await ledger.claim(KEY, 1, token, LEASE)
    assert await ledger.claim(KEY, 1, token, LEASE)
    assert not await ledger.claim(KEY, 1, ledger.token(), LEASE)


@pytest.mark.parametrize("before", [DEFERRED, UNKNOWN])
async def test_the_next_attempt_may_begin_after_deferred_and_unknown(opened, before) -> None:
    ledger = await opened("north/1:a")
    assert await ledger.finish(KEY, 1, ledger.token(), before, b"1")
    assert not await ledger.claim(KEY, 1, ledger.token(), LEASE)  # not the same one again
    assert await ledger.claim(KEY, 2, ledger.token(), LEASE)


@pytest.mark.parametrize("final", [ACCEPTED, FAILED])
async def test_nothing_begins_after_the_end(opened, final) -> None:
    ledger = await opened("north/1:a")
    assert await ledger.finish(KEY, 1, ledger.token(), final, b"1")
    assert not await ledger.claim(KEY, 2, ledger.token(), LEASE)
    assert not await ledger.finish(KEY, 2, ledger.token(), FAILED, b"2")
    assert (await ledger.look_up(KEY)).outcome == b"1"


async def test_a_stale_worker_overwrites_nothing(opened) -> None:
    stale, other = await opened("north/1:a"), await opened("north/2:b")
    stale_token = stale.token()
    assert await stale.claim(KEY, 1, stale_token, LEASE)
    row = await other.look_up(KEY)
    other_token = other.token()
    assert await other.take_over(KEY, row, 1, other_token, b"unknown")
    assert await other.take_over(KEY, row, 1, other_token, b"unknown")  # twice is once
    assert not await stale.take_over(KEY, row, 1, stale.token(), b"late")
    for kind in (DEFERRED, FAILED, UNKNOWN):
        assert not await stale.finish(KEY, 1, stale_token, kind, b"stale")
    assert (await other.look_up(KEY)).outcome == b"unknown"
    assert await other.claim(KEY, 2, other.token(), LEASE)
    assert not await stale.finish(KEY, 1, stale_token, ACCEPTED, b"stale")  # the next attempt has begun


async def test_one_who_was_only_asleep_may_say_that_it_was_accepted(opened) -> None:
    asleep, other = await opened("north/1:a"), await opened("north/2:b")
    token = asleep.token()
    assert await asleep.claim(KEY, 1, token, LEASE)
    assert await other.take_over(KEY, await other.look_up(KEY), 1, other.token(), b"unknown")
    assert await asleep.finish(KEY, 1, token, ACCEPTED, b"accepted")
    assert not await other.claim(KEY, 2, other.token(), LEASE)


async def test_taking_over_needs_what_was_seen(opened) -> None:
    first, second = await opened("north/1:a"), await opened("north/2:b")
    token = first.token()
    assert await first.claim(KEY, 1, token, LEASE)
    row = await second.look_up(KEY)
    assert await first.finish(KEY, 1, token, ACCEPTED, b"done")
    assert not await second.take_over(KEY, row, 1, second.token(), b"unknown")


async def test_leases_of_the_dead_end_and_of_nobody_else(opened) -> None:
    keys = {"north@h/1:a": "k1", "north@h/1:b": "k2", "north@h/2:c": "k3", "northern@h/1:d": "k4"}
    for owner, key in keys.items():
        assert await (await opened(owner)).claim(key, 1, 1, LEASE)
    supervisor = await opened("north@h/supervisor")
    assert await supervisor.expire("north@h/1:a") == 1
    assert [(await supervisor.look_up(key)).lease_until == 0 for key in keys.values()] == [True, False, False, False]
    assert await supervisor.expire("north@h/") == 3
    assert [(await supervisor.look_up(key)).lease_until == 0 for key in keys.values()] == [True, True, True, False]


async def test_the_long_finished_is_forgotten_and_nothing_else(opened) -> None:
    ledger = await opened("north/1:a")
    old, young = "01000000-0000-7000-8000-000000000001.0", "01ffffff-0000-7000-8000-000000000001.0"
    for key in (old, young):
        assert await ledger.finish(key, 1, ledger.token(), ACCEPTED, b"x")
    assert await ledger.claim("01000000-0000-7000-8000-000000000002.0", 1, ledger.token(), LEASE)
    assert await ledger.forget("01800000", time.time() - 60) == 0  # changed a moment ago
    assert await ledger.forget("01800000", time.time() + 60) == 1
    assert await ledger.look_up(old) is None
    assert await ledger.look_up(young) is not None


async def test_it_is_there_after_a_restart(ledger_url: str) -> None:
    for expected in (None, b"kept"):
        ledger = Ledger(ledger_url, "north/1:a")
        await ledger.open()
        row = await ledger.look_up(KEY)
        assert (row and row.outcome) == expected
        await ledger.finish(KEY, 1, ledger.token(), ACCEPTED, b"kept")
        await ledger.close()


async def test_many_at_once_share_a_few_commits(opened, monkeypatch) -> None:
    ledger = await opened("north/1:a")
    groups: list[int] = []
    database = ledger._store._database
    run = database.run
    monkeypatch.setattr(database, "run", lambda operations: (groups.append(len(operations)), run(operations))[1])
    await asyncio.gather(*(ledger.claim(f"k{number}", 1, ledger.token(), LEASE) for number in range(400)))
    assert sum(groups) == 400
    assert len(groups) < 40


async def test_one_bad_operation_hurts_no_other(opened) -> None:
    ledger = await opened("north/1:a")
    results = await asyncio.gather(
        ledger.claim("k1", 1, 1, LEASE),
        ledger.claim("k2", None, 2, LEASE),  # type: ignore[arg-type]
        ledger.claim("k3", 1, 3, LEASE),
        return_exceptions=True,
    )
    assert results[0] is True
    assert isinstance(results[1], LedgerError)
    assert results[2] is True


async def test_a_locked_sqlite_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("email_service.ledger_store.BUSY_SECONDS", 0.1)
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(f"sqlite:///{path}", "north/1:a")
    await ledger.open()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    claim = asyncio.create_task(ledger.claim(KEY, 1, ledger.token(), LEASE))
    await asyncio.to_thread(wait_until, lambda: ledger.trouble, "the lock is noticed")
    assert not claim.done()
    blocker.execute("COMMIT")
    blocker.close()
    assert await asyncio.wait_for(claim, 30)
    assert not ledger.trouble
    await ledger.close()


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_postgresql_that_drops_the_connection_is_waited_for(postgresql, ledger_url, opened) -> None:
    ledger = await opened("north/1:a")
    assert await ledger.claim("k1", 1, ledger.token(), LEASE)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'ledger_%'")
    assert await asyncio.wait_for(ledger.claim("k2", 1, ledger.token(), LEASE), 30)
    assert (await ledger.look_up("k1")).state == "started"


async def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = Ledger(url, "north/1:a")
    await ledger.open()
    await ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE ledger SET version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="version 99"):
        await Ledger(url, "north/1:a").open()


def test_another_url_is_refused() -> None:
    with pytest.raises(LedgerError, match="LEDGER_URL"):
        Ledger("mysql://x", "north/1:a")


async def test_a_thousand_that_wait_share_a_few_commits(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard of speed: what comes while one commit is on its way goes into the next."""
    ledger = Ledger(ledger_url, "north/1:a")
    await ledger.open()
    commits: list[int] = []
    database = ledger._store._database
    run = database.run
    monkeypatch.setattr(database, "run", lambda operations: (commits.append(len(operations)), run(operations))[1])
    keys = [f"0192f0c1-0000-7000-8000-{number:012d}.1" for number in range(1000)]
    assert all(await asyncio.gather(*(ledger.claim(key, 1, ledger.token(), LEASE) for key in keys)))
    await ledger.close()
    assert sum(commits) == 1000
    assert len(commits) <= 50  # the thread may be quick while they are still coming
