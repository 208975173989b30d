"""Is everything up, and how much waits?"""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session

from crm_api.auth.models import User
from crm_api.db import Database
from crm_api.messages.models import Delivery
from crm_api.messages.states import State
from crm_api.monitoring.models import Process
from crm_api.monitoring.schemas import SystemState
from crm_api.monitoring.service import _COUNT, ALIVE, system_state
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.contracts import Heartbeat
from tests.support.crm import crm_of

MOMENT = timedelta(seconds=2)


def _dispatch(broker: str = "up", age: timedelta = MOMENT, name: str = "dispatch north 7") -> Process:
    return Process(name=name, kind="dispatch", seen_at=now() - age, data={"broker": broker})


def _worker(number: int, of: int = 2, room: str = "north", age: timedelta = MOMENT, stopping: bool = False) -> Process:
    beat = Heartbeat(
        room=room, worker=number, workers=of, host="h", pid=1, at=now(), started_at=now(),
        in_flight=0, accepted=0, deferred=0, failed=0, unknown=0, stopping=stopping,
    )  # fmt: skip
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(beat))
    return Process(name=f"{room}/{number}", kind="worker", seen_at=now() - age, data=data)


def _state(database: Database, *processes: Process) -> SystemState:
    with database.write() as session:
        session.execute(text("DELETE FROM process"))
        session.add_all(processes)
    with database.read() as session:
        return system_state(session)


def test_nothing_was_ever_heard_of(database: Database) -> None:
    state = _state(database)
    assert (state.broker, state.dispatch_up, state.mail_room_up, state.mail_room_of) == ("unknown", False, 0, 0)


@pytest.mark.parametrize("broker", ["up", "down", "blocked"])
def test_the_broker_is_as_dispatch_sees_it(database: Database, broker: str) -> None:
    assert _state(database, _dispatch(broker)).broker == broker


def test_one_dispatcher_with_a_link_is_enough(database: Database) -> None:
    state = _state(database, _dispatch("down"), _dispatch("up", name="dispatch south 9"))
    assert (state.broker, state.dispatch_up) == ("up", True)


def test_who_was_not_heard_for_fifteen_seconds_is_down(database: Database) -> None:
    old = ALIVE + MOMENT
    state = _state(database, _dispatch(age=old), _worker(1), _worker(2, age=old))
    assert (state.broker, state.dispatch_up) == ("unknown", False)
    assert (state.mail_room_up, state.mail_room_of) == (1, 2)


def test_rooms_add_up_and_a_stopping_worker_is_none(database: Database) -> None:
    state = _state(
        database, _worker(1), _worker(2), _worker(1, of=3, room="south"), _worker(2, of=3, room="south", stopping=True)
    )
    assert (state.mail_room_up, state.mail_room_of) == (3, 5)


def test_waiting_and_failed_are_counted_by_state(settings: CrmSettings, database: Database, user: User) -> None:
    message = crm_of(settings, database, user).send(*(f"a{n}@example.com" for n in range(len(State))))
    with database.write() as session:
        for state, delivery in zip(State, crm_of(settings, database, user).deliveries(message.id), strict=True):
            session.get_one(Delivery, delivery.id).state = state
    found = _state(database)
    assert (found.waiting, found.failed) == (3, 3)


def _plan(session: Session, statement: str) -> str:
    explain = "EXPLAIN QUERY PLAN" if session.get_bind().dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(str(row[-1]) for row in session.execute(text(f"{explain} {statement}")))


def test_counting_reads_only_the_index_of_what_is_watched(database: Database) -> None:
    with database.read() as session:
        if not database.sqlite:
            session.execute(text("SET enable_seqscan = off"))
        assert "ix_delivery_watched" in _plan(session, _COUNT.text)


def test_the_api_and_the_pages_say_the_same(api: TestClient, database: Database) -> None:
    with database.write() as session:
        session.add_all([_dispatch(), _worker(1), _worker(2)])
    assert api.get("/api/v1/system").json() == {
        "well": True, "broker": "up", "dispatch_up": True,
        "mail_room_up": 2, "mail_room_of": 2, "mail_room_resting": 0, "alarms": [],
        "waiting": 0, "failed": 0, "differences": 0, "console_url": None,
    }  # fmt: skip


def test_health_needs_nobody_signed_in_and_no_broker(visitor: TestClient) -> None:
    assert visitor.get("/health/live").json() == {"status": "ok"}
    assert visitor.get("/health/ready").json() == {"status": "ok"}


def test_not_ready_without_tables(visitor: TestClient, database: Database) -> None:
    with database.write() as session:
        session.execute(text("ALTER TABLE crm_user RENAME TO elsewhere"))
    answer = visitor.get("/health/ready")
    assert answer.status_code == 503
    assert visitor.get("/health/live").status_code == 200
