"""Guards of speed: what a batch of outcomes asks of the database does not grow with the batch."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from crm_api.outcomes import store
from crm_api.outcomes.listener import OutcomeListener
from crm_api.writer import Writer
from shared.clock import now
from shared.contracts import Outcome, OutcomeBatch, encode
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.statements import counted

STATEMENTS = 5  # load, attempts, deliveries, the message's figures, who is told


def outcomes(crm: Crm, count: int, lane: str) -> list[Outcome]:
    message = crm.send(*(f"r{number}@example.com" for number in range(count)), lane=lane)
    return [outcome_of(delivery) for delivery in crm.deliveries(message.id)]


@pytest.mark.parametrize("count", [1, 400])
def test_statements_a_batch(crm: Crm, count: int) -> None:
    found = outcomes(crm, count, "bulk")
    with counted(crm.database) as statements, crm.database.write() as session:
        store.apply(session, found, now())
    assert len([sql for sql in statements if not sql.startswith("BEGIN")]) == STATEMENTS


class Event:
    """A delivery as the consumer hands it over."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.body = encode(OutcomeBatch(outcomes))
        self.properties = type("Properties", (), {"type": OutcomeBatch.TYPE})
        self.acked = False

    def ack(self) -> None:
        self.acked = True


@pytest.fixture
async def writes(crm: Crm) -> AsyncIterator[tuple[OutcomeListener, list[int]]]:
    """A listener, and one entry for each transaction that it asked for."""
    done: list[int] = []

    class Counting(Writer):
        async def do(self, work, **how):  # type: ignore[no-untyped-def]
            done.append(1)
            return await super().do(work, **how)

    writer = Counting(crm.database)
    listener = OutcomeListener(writer)
    listener.start()
    yield listener, done
    await listener.close()
    writer.close()


async def test_a_thousand_of_a_mailing_that_come_together_are_one_transaction(
    crm: Crm, writes: tuple[OutcomeListener, list[int]]
) -> None:
    listener, done = writes
    found = await asyncio.to_thread(outcomes, crm, 1000, "bulk")
    events = [Event(*found[start : start + 50]) for start in range(0, 1000, 50)]
    await asyncio.gather(*(listener.on_delivery(event) for event in events))  # type: ignore[arg-type]
    assert len(done) == 1
    assert all(event.acked for event in events)


async def test_a_persons_letter_waits_for_no_mailing(
    crm: Crm, writes: tuple[OutcomeListener, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_api.outcomes.listener.GATHER_SECONDS", 3600)
    listener, done = writes
    (of_a_mailing,) = await asyncio.to_thread(outcomes, crm, 1, "bulk")
    (urgent,) = await asyncio.to_thread(outcomes, crm, 1, "urgent")
    gathering = asyncio.create_task(listener.on_delivery(Event(of_a_mailing)))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        await listener.on_delivery(Event(urgent))  # type: ignore[arg-type]
    assert not gathering.done()
    assert len(done) == 1
    gathering.cancel()
