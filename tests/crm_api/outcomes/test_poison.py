"""No event stops the others: what a contract takes can be stored, and what cannot be applied is set aside."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from pika import BasicProperties
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError
from sqlmodel import Session, select

from crm_api.faults import Fault, whose
from crm_api.messages.models import Delivery
from crm_api.monitoring.heartbeats import MOST_ROWS, MOST_WORKERS, Heartbeats
from crm_api.monitoring.models import Process
from crm_api.outcomes import listener as module
from crm_api.outcomes import poison, store
from crm_api.outcomes.listener import OutcomeListener
from crm_api.reconciliation.models import Stranger
from crm_api.writer import Writer
from shared.amqp import Publisher
from shared.clock import now
from shared.contracts import (
    AttemptStarted,
    BadContract,
    Heartbeat,
    Outcome,
    OutcomeBatch,
    SendCommand,
    decode,
    encode,
)
from tests.support.contracts import members_of
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
LOOK = settings(max_examples=40, deadline=None, suppress_health_check=SLOW)


class Event:
    """A delivery as the consumer hands it over."""

    routing_key = "outcome"

    def __init__(self, body: bytes, kind: str = OutcomeBatch.TYPE, message_id: str | None = "an-event") -> None:
        self.body, self.settled = body, ""
        self.properties = BasicProperties(type=kind, message_id=message_id)

    def ack(self) -> None:
        self.settled = "acked"

    def nack(self, requeue: bool) -> None:
        self.settled = "requeued" if requeue else "set aside"


def batch(*outcomes: Outcome) -> Event:
    return Event(encode(OutcomeBatch(outcomes)))


def spoiled(*outcomes: Outcome, **members: Any) -> Event:
    """The last one with these members, whatever the contract says."""
    made = [msgspec.to_builtins(outcome) for outcome in outcomes]
    made[-1] |= members
    return Event(msgspec.json.encode({"outcomes": made}))


@pytest.fixture
def writer(crm: Crm) -> Iterator[Writer]:
    writer = Writer(crm.database)
    yield writer
    writer.close()


@pytest.fixture
async def listener(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OutcomeListener]:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    listener = OutcomeListener(writer)
    listener.start()
    yield listener
    await listener.close()


async def hear(listener: OutcomeListener, *events: Event) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*(listener.on_delivery(event) for event in events))  # type: ignore[arg-type]


def states(crm: Crm, message: Any) -> list[str]:
    return [delivery.state for delivery in crm.deliveries(message.id)]


def reasons(crm: Crm) -> dict[str, str]:
    with crm.database.read() as session:
        return {row.key: row.why for row in session.exec(select(Stranger))}


# ---- what a contract takes can be stored --------------------------------------------------------------------------


OUTCOMES, STARTS, BEATS = members_of(Outcome), members_of(AttemptStarted), members_of(Heartbeat)


def read(kind: str, members: dict[str, Any]) -> Any:
    return decode(kind, msgspec.json.encode(members))


@LOOK
@given(outcome=OUTCOMES)
def test_every_outcome_that_is_read_can_be_applied(crm: Crm, outcome: dict[str, Any]) -> None:
    delivery = crm.delivery(crm.send(f"{uuid4()}@x.example").id)  # another may have been suppressed
    event = read(OutcomeBatch.TYPE, {"outcomes": [outcome | {"delivery": str(delivery.id), "generation": 1}]})
    with crm.database.write() as session:
        store.apply(session, list(event.outcomes), now())
    assert crm.delivery(delivery.message_id).state == outcome["kind"]


@LOOK
@given(started=STARTS)
def test_every_start_that_is_read_can_be_applied(crm: Crm, started: dict[str, Any]) -> None:
    delivery = crm.delivery(crm.send().id)
    event = read(AttemptStarted.TYPE, started | {"delivery": str(delivery.id)})
    with crm.database.write() as session:
        store.begin(session, [event])


@LOOK
@given(heartbeat=BEATS)
def test_every_heartbeat_that_is_read_can_be_written_down(crm: Crm, heartbeat: dict[str, Any]) -> None:
    async def write() -> None:
        heartbeats = Heartbeats(None, Publisher(["amqp://nowhere/"], "test"))  # type: ignore[arg-type]
        heartbeats.hear(read(Heartbeat.TYPE, heartbeat))
        with crm.database.write() as session:
            heartbeats._write(session)

    asyncio.run(write())


LONG = "x" * 100_000
BAD_MEMBERS: dict[str, list[object]] = {
    "attempt": [2**63, 2**31, -1, 0, 10**400, 1.5, "1", None],
    "generation": [2**63, 2**31, -1, -(2**70)],
    "code": [2**63, -1, 1000],
    "finished_at": ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "soon", 0],
    "started_at": ["1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"],
    "next_at": ["2026-01-01T00:00:00"],
    "reason": ["a\0b", LONG, None, {"a": "b"}],
    "worker": ["\0", LONG],
    "reply": ["\0", LONG],
    "talk": [[{"ms": 2**63, "who": "us", "text": ""}], [{"ms": 1, "who": "us", "text": "\0"}], [{}], 7],
    "lane": ["express"],
    "kind": ["lost"],
    "delivery": ["x", "0" * 31],
}


@pytest.mark.parametrize(
    ("member", "value"), [(name, value) for name, values in BAD_MEMBERS.items() for value in values]
)
def test_what_could_not_be_stored_is_refused(member: str, value: object) -> None:
    delivery = Delivery(message_id="0" * 32, address="a@b.example", lane="urgent", due_at=now(), expires_at=now())
    event = spoiled(outcome_of(delivery), **{member: value})
    with pytest.raises(BadContract):
        decode(OutcomeBatch.TYPE, event.body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"outcomes":["\xff"]}',
        b'{"outcomes":[{"reason":"\\ud800"}]}',
        b'{"outcomes":' + b"[{}]" * 2,
        b"\0",
    ],
)
@pytest.mark.parametrize("kind", [OutcomeBatch.TYPE, SendCommand.TYPE, Heartbeat.TYPE, AttemptStarted.TYPE])
def test_no_body_is_more_than_a_bad_contract(kind: str, body: bytes) -> None:
    with pytest.raises(BadContract):
        decode(kind, body)


# ---- what cannot be applied is set aside, and the others go on ----------------------------------------------------


@pytest.mark.parametrize("lane", ["urgent", "bulk"])
async def test_an_outcome_that_cannot_be_read_holds_up_none_beside_it(
    crm: Crm, listener: OutcomeListener, lane: str
) -> None:
    message = await asyncio.to_thread(lambda: crm.send("a@x.example", "b@x.example", "c@x.example", lane=lane))
    first, second, third = await asyncio.to_thread(crm.deliveries, message.id)
    bad = spoiled(outcome_of(first), outcome_of(second), attempt=2**63)
    good = batch(outcome_of(third))
    await hear(listener, bad, good)
    assert (bad.settled, good.settled) == ("set aside", "acked")
    assert await asyncio.to_thread(states, crm, message) == ["accepted", "pending", "accepted"]
    (why,) = (await asyncio.to_thread(reasons, crm)).values()
    assert "attempt" in why


class _Cause(Exception):
    """What a driver raises, of neither driver."""


@pytest.mark.parametrize(
    "problem",
    [
        KeyError("lane"),
        OverflowError("Python int too large to convert to SQLite INTEGER"),
        RecursionError(),
        DataError("INSERT", None, _Cause("integer out of range")),
        IntegrityError("INSERT", None, _Cause("no such delivery")),
        AssertionError(),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_an_outcome_that_cannot_be_applied_is_set_aside_alone(
    crm: Crm, listener: OutcomeListener, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    message = await asyncio.to_thread(lambda: crm.send(*(f"r{number}@x.example" for number in range(8))))
    found = await asyncio.to_thread(crm.deliveries, message.id)
    apply = store.apply

    def fails_at_one(session: Session, outcomes: list[Outcome], at: datetime) -> None:
        if any(outcome.delivery == found[5].id for outcome in outcomes):
            raise problem
        apply(session, outcomes, at)

    monkeypatch.setattr(store, "apply", fails_at_one)
    events = [batch(*map(outcome_of, found[:4])), batch(*map(outcome_of, found[4:7])), batch(outcome_of(found[7]))]
    await hear(listener, *events)
    assert [event.settled for event in events] == ["acked", "set aside", "acked"]
    assert await asyncio.to_thread(states, crm, message) == ["accepted"] * 5 + ["pending"] + ["accepted"] * 2
    (why,) = (await asyncio.to_thread(reasons, crm)).values()
    cause = getattr(problem, "orig", problem)
    assert type(cause).__name__ in why


async def test_an_error_of_which_nobody_knows_whose_it_is_has_patience_and_an_end(
    crm: Crm, listener: OutcomeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    message = await asyncio.to_thread(lambda: crm.send("a@x.example"))
    (delivery,) = await asyncio.to_thread(crm.deliveries, message.id)
    tries = 0
    apply = store.apply

    def unclear(session: Session, outcomes: list[Outcome], at: datetime) -> None:
        nonlocal tries
        tries += 1
        if outcomes[0].attempt == 7:
            raise ProgrammingError("INSERT", None, psycopg.errors.UndefinedFunction("?"))
        apply(session, outcomes, at)

    monkeypatch.setattr(store, "apply", unclear)
    bad, good = batch(outcome_of(delivery, attempt=7)), batch(outcome_of(delivery))
    await hear(listener, bad)
    assert tries > module.PATIENCE
    await hear(listener, good)
    assert (bad.settled, good.settled) == ("set aside", "acked")


def test_a_database_that_is_away_is_nobodys_fault_but_its_own() -> None:
    import sqlite3

    import psycopg

    def sqlite(name: str) -> sqlite3.Error:
        problem = sqlite3.OperationalError(name)
        problem.sqlite_errorname = name
        return problem

    away = [
        *(sqlite(name) for name in ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY_DBMOVED")),
        psycopg.OperationalError("connection refused"),
        psycopg.errors.DiskFull(),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.ReadOnlySqlTransaction(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.LockNotAvailable(),
    ]
    for cause in away:
        assert whose(OperationalError("INSERT", None, cause)) is Fault.database, cause
    for cause in (psycopg.errors.NumericValueOutOfRange(), psycopg.errors.ForeignKeyViolation()):
        assert whose(DataError("INSERT", None, cause)) is Fault.asked, cause


async def test_a_flood_of_bad_events_fills_no_table(
    crm: Crm, listener: OutcomeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poison, "MOST_NOTED", 10)
    events = [Event(b"{", message_id=None if number % 2 else f"event {number}\0") for number in range(5)]
    events += [Event(b"%d" % number, message_id=None) for number in range(20)]
    await hear(listener, *events)
    assert {event.settled for event in events} == {"set aside"}
    assert len(await asyncio.to_thread(reasons, crm)) == 10


# ---- heartbeats -----------------------------------------------------------------------------------------------------


def beat(**members: Any) -> bytes:
    at = now().isoformat()
    figures = dict.fromkeys(("in_flight", "accepted", "deferred", "failed", "unknown"), 0)
    usual = {"room": "north", "worker": 1, "workers": 1, "host": "north.example", "pid": 1, "at": at, "started_at": at}
    return msgspec.json.encode(usual | figures | members)


BAD_BEATS: list[dict[str, Any]] = [
    {"at": "2026-11-27T12:00:00"},
    {"started_at": "0001-01-01T00:00:00+10:00"},
    {"worker": 2**63},
    {"workers": 10**9},
    {"room": "r" * 101},
    {"room": ""},
    {"room": "\0"},
    {"held": {f"queue{number}": 1 for number in range(100)}},
    {"route_state": LONG},
    {"accepted": -1},
]


@pytest.mark.parametrize("members", BAD_BEATS, ids=lambda members: next(iter(members)))
async def test_a_bad_heartbeat_is_said_and_the_next_one_is_heard(
    crm: Crm, writer: Writer, members: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    heartbeats = Heartbeats(writer, Publisher(["amqp://nowhere/"], "test"))
    heartbeats.on_delivery(beat(**members))
    heartbeats.on_delivery(beat())
    await writer.do(heartbeats._write)
    assert "a heartbeat cannot be read" in caplog.text
    with crm.database.read() as session:
        assert [row.name for row in session.exec(select(Process)) if row.kind == "worker"] == ["north/1"]


async def test_made_up_rooms_fill_neither_memory_nor_table(
    crm: Crm, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeats = Heartbeats(writer, Publisher(["amqp://nowhere/"], "test"))
    heartbeats.on_delivery(beat())
    clock = 0.0
    monkeypatch.setattr("crm_api.monitoring.heartbeats.time.monotonic", lambda: clock)
    for wave in range(4):
        clock += 100  # the names of the wave before are silent for long enough to be forgotten
        heartbeats.on_delivery(beat())
        for number in range(MOST_WORKERS + 200):
            heartbeats.on_delivery(beat(room=f"forged {wave} {number}"))
        heartbeats.on_delivery(beat())
        assert len(heartbeats._heard) <= MOST_WORKERS
        await writer.do(heartbeats._write)
    with crm.database.read() as session:
        names = {row.name for row in session.exec(select(Process))}
    assert len(names) <= MOST_ROWS + 1
    assert "north/1" in names, "who was there before the flood stays"
