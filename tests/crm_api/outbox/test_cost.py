"""Guards of speed: what a batch of the relay asks of the database does not grow with the batch."""

import pytest

from crm_api.outbox import store
from shared.clock import now
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.plans import heard_by, plans
from tests.support.statements import counted


@pytest.mark.parametrize("count", [1, 400])
def test_statements_a_batch(crm: Crm, count: int) -> None:
    crm.send(*(f"r{number}@example.com" for number in range(count)), lane="bulk")
    letters = store.Letters()
    with counted(crm.database) as first, crm.database.write() as session:
        claimed = store.claim(session, Lane.bulk, now(), 500)
        letters.load(session, claimed)
    assert len(claimed) == count
    assert len([letters.command(row, Lane.bulk) for row in claimed]) == count
    with counted(crm.database) as second, crm.database.write() as session:
        store.mark_queued(session, claimed, now())
    # claim, attachments and message of a message not seen before; mark, the message's figures, who is told
    assert [len([sql for sql in each if not sql.startswith("BEGIN")]) for each in (first, second)] == [3, 3]


def test_what_the_broker_holds_is_not_counted_among_all_that_was_ever_sent(crm: Crm) -> None:
    """Once a batch; 120 ms in a house with a million deliveries."""
    crm.send(lane="bulk")
    with crm.database.read() as session, heard_by(crm.database) as heard:
        assert store.in_broker(session, Lane.bulk) == 0
        lines = plans(session, list(heard))
        assert not any(line.startswith("SCAN delivery") for line in lines), lines
        if crm.database.sqlite:  # PostgreSQL chooses by the numbers, and these are small
            assert any("ix_delivery_watched" in line for line in lines), lines
