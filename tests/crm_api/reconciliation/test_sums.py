"""Figures of messages that are not what their deliveries say are set right, and what was is written down."""

import asyncio

import pytest
from sqlalchemy import delete, update
from sqlmodel import col, select

from crm_api.messages.models import Delivery, Message
from crm_api.reconciliation import sums
from crm_api.reconciliation.models import Finding
from tests.support.crm import Crm
from tests.support.reconciling import Comparing, comparing


def bend(crm: Crm, message: Message, **figures: int) -> None:
    with crm.database.write() as session:
        session.execute(update(Message).where(col(Message.id) == message.id).values(**figures))


def findings(crm: Crm) -> list[Finding]:
    with crm.database.read() as session:
        return list(session.exec(select(Finding)))


async def test_wrong_figures_are_set_right(crm: Crm) -> None:
    right, wrong = crm.send("a@example.com"), crm.send("b@example.com", "c@example.com")
    bend(crm, wrong, pending=0, queued=5, state="queued")
    async with comparing(crm) as made:
        found = await made.look()
    assert (found.checked, found.unequal) == (2, [])
    mended = crm.message(wrong.id)
    assert (mended.pending, mended.queued, mended.state) == (2, 0, "pending")
    assert crm.message(right.id).pending == 1
    (entry,) = await asyncio.to_thread(findings, crm)
    assert (entry.kind, entry.message_id) == ("sums", wrong.id)
    assert entry.data == {"figures": {"pending": [0, 2], "queued": [5, 0]}}


async def test_a_message_that_looked_done_is_open_again(crm: Crm) -> None:
    message = crm.send()
    bend(crm, message, pending=0, accepted=1, state="accepted")
    async with comparing(crm) as made:
        await made.look()
    assert (crm.message(message.id).state, crm.message(message.id).done_at) == ("pending", None)


async def test_more_or_fewer_letters_than_planned_are_shown_until_they_are_as_many(crm: Crm) -> None:
    message = crm.send("a@example.com", "b@example.com")
    lost = crm.deliveries(message.id)[0]
    with crm.database.write() as session:
        session.execute(delete(Delivery).where(col(Delivery.id) == lost.id))
    async with comparing(crm) as made:
        for _ in range(2):  # it is told once, and shown as long as it is so
            found = await made.look()
            assert (found.unequal, found.differences) == ([message.id], 1)
        bend(crm, message, planned=1)
        assert (await made.look()).differences == 0
    kinds = [entry.kind for entry in await asyncio.to_thread(findings, crm)]
    assert kinds == ["sums", "unequal"]


async def test_all_messages_have_their_turn(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [crm.send() for _ in range(7)]
    monkeypatch.setattr(sums, "MOST_MESSAGES", 3)
    after, seen = None, []
    for _ in range(3):
        with crm.database.read() as session:
            chosen, after = sums.next_messages(session, [], after)
        seen += chosen
    assert seen == [message.id for message in messages]
    assert after is None, "the walk begins anew"


async def test_what_has_changed_comes_first_and_a_turn_is_bounded(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [crm.send() for _ in range(3)]
    large = crm.send(*(f"r{number}@example.com" for number in range(50)))
    monkeypatch.setattr(sums, "MOST_DELIVERIES", 10)
    with crm.database.read() as session:
        chosen, after = sums.next_messages(session, [large.id, small[2].id], None)
        assert chosen == [small[2].id, small[0].id, small[1].id]
        assert after == small[2].id
        chosen, after = sums.next_messages(session, [], after)
        assert chosen == [large.id], "a large one is counted alone"


async def test_a_comparison_costs_a_fixed_number_of_statements(crm: Crm) -> None:
    from tests.support.statements import counted

    async def cost(made: Comparing) -> int:
        with counted(crm.database) as statements:
            await made.look()
        return len([sql for sql in statements if not sql.startswith("BEGIN")])

    async with comparing(crm) as made:
        await asyncio.to_thread(crm.send)
        await made.look()
        few = await cost(made)
        await asyncio.to_thread(lambda: [crm.send(*(f"r{n}@example.com" for n in range(20))) for _ in range(10)])
        assert await cost(made) == few
