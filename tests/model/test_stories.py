"""What the model found, each told step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_api.messages import actions
from shared.lanes import Lane
from shared.topology import lane_queue
from tests.model import books
from tests.model.house import House, Town


@pytest.fixture
def house(town: Town) -> Iterator[House]:
    house = House(town)
    yield house
    house.close()


def sent(house: House, lane: Lane = Lane.urgent) -> str:
    """A letter that lies in its lane queue; its key."""
    house.town.crm.send("ada@example.com", lane=lane)
    house.dispatches[0].carry(lane)
    house.dispatches[0].run(100)
    assert len(house.broker.queues[lane_queue(lane)]) == 1
    (delivery,) = books.deliveries(house)
    return books.key_of(delivery)


def test_a_copy_that_waited_for_another_is_no_second_dead_letter(house: House) -> None:
    """As when the relay published it twice: one is being sent while the other one comes."""
    key = sent(house)
    (letter,) = house.broker.queues[lane_queue(Lane.urgent)]
    house.server.plan("rcpt", "550 5.1.1 nobody")
    first, second = house.workers
    while house.server.plans["rcpt"]:  # its attempt is claimed before that
        assert first.run(1)
    house.broker.queues[lane_queue(Lane.urgent)].append(letter.copy())
    second.run(100)
    assert len(house.broker.queues["mail.wait.30s.v1"]) == 1
    books.settle(house)
    assert books.dead_letters(house) == [key]


def test_a_dead_letter_that_was_let_be_while_the_broker_was_away_is_taken_out_later(house: House) -> None:
    sent(house)
    house.server.plan("rcpt", "550 5.1.1 nobody")
    house.workers[0].run(100)
    books.settle(house)
    (failed,) = books.deliveries(house)
    with house.town.database.write() as session:
        actions.discard(session, failed.id, house.town.crm.principal)
    house.wait(2 * 3600)
    books.settle(house)
    assert books.dead_letters(house) == []
