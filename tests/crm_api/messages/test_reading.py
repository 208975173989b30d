"""Deliveries by state: every page the same as sorting everything by hand, and no reading of the whole table."""

import random
from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlmodel import Session, select

from crm_api.messages import service
from crm_api.messages.models import Delivery
from crm_api.messages.states import State
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.plans import heard_by, plans

STATES = ("failed", "failed,unknown,bounced", "pending", "discarded,cancelled", "accepted", "accepted,failed", None)


@pytest.fixture
def messages(crm: Crm) -> list[UUID]:
    """Three messages on two lanes, their deliveries in all kinds of states."""
    dice = random.Random(7)
    ids = [crm.send(*(f"r{n}@example.com" for n in range(40)), lane=lane).id for lane in ("bulk", "bulk", "urgent")]
    with crm.database.write() as session:
        for delivery in session.exec(select(Delivery)).all():
            state = dice.choice(list(State))
            session.execute(update(Delivery).where(Delivery.id == delivery.id).values(state=state))  # type: ignore[arg-type]
    return ids


def _pages(session: Session, message_id: UUID | None, state: str | None) -> list[UUID]:
    found: list[UUID] = []
    cursor = None
    while True:
        page, cursor = service.deliveries(session, message_id, state=state, cursor=cursor, limit=7)
        found += [row.id for row in page]
        if cursor is None:
            return found


@pytest.mark.parametrize("state", STATES)
def test_every_page_in_the_order_of_writing(crm: Crm, messages: list[UUID], state: str | None) -> None:
    wanted = set(state.split(",")) if state else set(State)
    with crm.database.read() as session:
        everything = session.exec(select(Delivery).order_by(Delivery.id)).all()  # type: ignore[arg-type]
        for message_id in (None, *messages):
            expected = [row.id for row in everything if row.state in wanted and message_id in (None, row.message_id)]
            assert _pages(session, message_id, state) == expected


def test_no_state_but_accepted_is_looked_for_in_the_whole_table(crm: Crm, messages: list[UUID]) -> None:
    with crm.database.read() as session, heard_by(crm.database) as heard:
        if not crm.database.sqlite:  # so few rows are rightly read whole; can it do without?
            session.execute(text("SET enable_seqscan = off"))
        for state in ("failed", "failed,unknown,bounced", *(state for state in State if state != State.accepted)):
            for message_id in (None, messages[0]):
                heard.clear()
                service.deliveries(session, message_id, state=state)
                plan = plans(session, list(heard))
                if crm.database.sqlite:  # PostgreSQL chooses by the numbers, and these are small
                    assert any("ix_delivery_watched" in line for line in plan), (state, plan)
                assert not any("SCAN delivery" in line or "Seq Scan on delivery" in line for line in plan), plan


def test_lanes_of_the_topology_are_all_looked_at(crm: Crm) -> None:
    for lane in Lane:
        crm.send(lane=lane)
    with crm.database.read() as session:
        assert {row.lane for row in service.deliveries(session, state="pending")[0]} == set(Lane)
