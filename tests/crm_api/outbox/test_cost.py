"""Guards of speed: what a batch of the relay asks of the database does not grow with the batch."""

import pytest

from crm_api.outbox import store
from shared.clock import now
from shared.lanes import Lane
from tests.support.crm import Crm
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
