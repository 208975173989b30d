"""Letters that a clock in the future has written."""

from datetime import datetime, timedelta

import pytest
from sqlmodel import col, select

from crm_api.messages import planning
from crm_api.messages.models import Delivery
from crm_api.outbox import store
from crm_api.outbox.clock import bring_forward
from shared import ids
from shared.clock import now
from shared.lanes import Lane
from tests.support.crm import Crm

AHEAD = timedelta(hours=1)


@pytest.fixture
def clock_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "now", lambda: now() + AHEAD)
    right = ids.time.time_ns
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: right() + int(AHEAD.total_seconds() * 1e9))


def _claimed(crm: Crm, at: datetime) -> list[str]:
    with crm.database.write() as session:
        return [row.address for row in store.claim(session, Lane.urgent, at, 10)]


@pytest.mark.usefixtures("clock_ahead")
def test_it_leaves_at_once(crm: Crm) -> None:
    crm.send("ida@example.com", "jo@example.com")
    assert _claimed(crm, now()) == []
    with crm.database.write() as session:
        assert bring_forward(session, now()) == 2
    assert _claimed(crm, now()) == ["ida@example.com", "jo@example.com"]


def test_one_that_was_being_planned_when_the_clock_was_set_back_leaves_at_once(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "now", lambda: now() + AHEAD)  # read before, its id made after
    crm.send("ida@example.com")
    assert _claimed(crm, now()) == ["ida@example.com"]


def test_one_that_was_being_planned_when_the_clock_was_set_forth_leaves_at_once(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ids.time.time_ns
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: right() + int(AHEAD.total_seconds() * 1e9))
    crm.send("ida@example.com")
    assert _claimed(crm, now()) == ["ida@example.com"]


@pytest.mark.usefixtures("clock_ahead")
def test_the_time_to_undo_it_remains(crm: Crm) -> None:
    crm.send("ida@example.com", undo_seconds=30)
    with crm.database.write() as session:
        assert bring_forward(session, now()) == 1
        due = session.exec(select(col(Delivery.due_at))).one()
    assert timedelta(seconds=20) < due - now() <= timedelta(seconds=30)


@pytest.mark.usefixtures("clock_ahead")
def test_what_is_planned_for_a_time_stays_planned(crm: Crm) -> None:
    crm.send("ida@example.com", send_at=now() + 3 * AHEAD)
    with crm.database.write() as session:
        assert bring_forward(session, now()) == 0


def test_letters_of_a_right_clock_are_left_alone(crm: Crm) -> None:
    crm.send("ida@example.com", undo_seconds=60)
    with crm.database.write() as session:
        assert bring_forward(session, now()) == 0
