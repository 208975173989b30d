"""What the model found, each told step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_api.messages import actions
from tests.model import books, stories
from tests.model.house import House, Town


@pytest.fixture
def house(town: Town) -> Iterator[House]:
    house = House(town)
    yield house
    house.close()


def test_a_copy_that_waited_for_another_is_no_second_dead_letter(house: House) -> None:
    """As when the relay published it twice: one is being sent while the other one comes."""
    first, second = stories.sent(house), house.workers[1]
    (letter,) = house.broker.queues[stories.QUEUE]
    house.server.plan("rcpt", stories.NOBODY)
    stories.until(first, lambda: not house.server.plans["rcpt"])  # its attempt is claimed before that
    house.broker.queues[stories.QUEUE].append(letter.copy())
    second.run(100)
    assert len(house.broker.queues["mail.wait.30s.v1"]) == 1
    books.settle(house)
    assert books.dead_letters(house) == [books.key_of(stories.the_letter(house))]


def test_a_dead_letter_that_was_let_be_while_the_broker_was_away_is_taken_out_later(house: House) -> None:
    stories.it_is_refused(house)
    books.settle(house)
    with house.town.database.write() as session:
        actions.discard(session, stories.the_letter(house).id, house.town.crm.principal)
    house.wait(2 * 3600)
    books.settle(house)
    assert books.dead_letters(house) == []
