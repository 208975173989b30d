"""What the broker has lost is found, offered and requeued; what it only has for long is left alone."""

import asyncio
from datetime import timedelta

from sqlmodel import select

from crm_api.messages.models import Delivery, DeliveryEntry
from crm_api.messages.timeline import steps
from crm_api.outbox import store as outbox
from crm_api.outcomes import store as outcomes
from crm_api.reconciliation.figures import Figures
from crm_api.reconciliation.models import Finding
from shared.clock import now
from shared.contracts import OutcomeKind
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.reconciling import Comparing, comparing, move_back, queue_all, worker

HOUR = timedelta(hours=1)


def urgent(figures: Figures) -> tuple[int, int, int]:
    """Of the urgent lane: what the database knows, missing, too old."""
    lane = figures.of(Lane.urgent)
    return lane.expected, lane.missing, lane.old


def sent(crm: Crm, count: int = 3, **outcome: object) -> list[Delivery]:
    """Queued; with an outcome's members, put off."""
    message = crm.send(*(f"r{number}@example.com" for number in range(count)))
    queue_all(crm)
    if outcome:
        found = [outcome_of(row, **outcome) for row in crm.deliveries(message.id)]
        with crm.database.write() as session:
            outcomes.apply(session, found, now())
    return crm.deliveries(message.id)


def states(crm: Crm, rows: list[Delivery]) -> set[str]:
    return {row.state for row in crm.deliveries(rows[0].message_id)}


async def grow_old(made: Comparing, rows: list[Delivery], span: timedelta = HOUR) -> None:
    """As if the deliveries had been queued so long ago, and all looks had come half as long ago."""
    from crm_api.reconciliation.models import Look

    def back() -> None:
        move_back(made.crm, span, *(row.id for row in rows))
        with made.crm.database.write() as session:
            looks = list(session.exec(select(Look)))
            members = [(look.at - span / 2, look.differences, look.figures) for look in looks]
            for look in looks:
                session.delete(look)
            session.flush()
            session.add_all(Look(at=at, differences=count, figures=figures) for at, count, figures in members)

    await asyncio.to_thread(back)


async def test_letters_that_are_nowhere_are_missing_from_the_second_look_on(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        assert urgent(await made.look()) == (3, 0, 0), "they may be in somebody’s hand"
        found = await made.look()
    assert urgent(found) == (3, 3, 0)
    assert found.differences == 3
    assert states(crm, rows) == {"queued"}, "nothing is requeued before its time"


async def test_what_lies_in_the_queue_is_not_missing_however_long_it_lies_there(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        made.say(send_urgent=3)
        await made.look()
        await grow_old(made, rows)
        assert urgent(await made.look()) == (3, 0, 0)
    assert states(crm, rows) == {"queued"}


async def test_what_a_worker_has_in_hand_is_not_missing(crm: Crm) -> None:
    await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        await asyncio.to_thread(worker, crm, urgent=2, bulk=50)
        await made.look()
        assert urgent(await made.look()) == (3, 1, 0)


async def test_a_parked_letter_waits_elsewhere(crm: Crm) -> None:
    await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        made.say(wait_30s=2)
        await made.look()
        assert urgent(await made.look()) == (3, 1, 0)


async def test_outcomes_on_their_way_are_waited_for(crm: Crm) -> None:
    await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        await made.look()
        made.say(crm_outcomes=1)
        assert urgent(await made.look()) == (3, 0, 0)


async def test_a_broker_that_does_not_answer_has_lost_nothing(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        made.depths = None
        await made.look()
        await grow_old(made, rows)
        found = await made.look()
        assert (urgent(found), found.reached) == ((3, 0, 0), False)
        made.say()
        assert urgent(await made.look()) == (3, 0, 0), "an unanswered look proves no queue empty"


async def test_after_its_time_it_is_requeued_by_itself(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        await made.look()
        await grow_old(made, rows)
        assert urgent(await made.look()) == (3, 0, 0)
    found = crm.deliveries(rows[0].message_id)
    assert {(row.state, row.generation, row.queued_at) for row in found} == {("pending", 1, None)}
    assert all(row.claimed_until for row in found), "the broker may have it: it can no longer be cancelled"
    message = crm.message(rows[0].message_id)
    assert (message.pending, message.queued) == (3, 0)
    with crm.database.read() as session:
        (finding,) = session.exec(select(Finding))
        assert (finding.kind, finding.count, finding.by) == ("requeued", 3, "")
        entries = session.exec(select(DeliveryEntry)).all()
        assert [(entry.kind, entry.data["state"]) for entry in entries] == [("requeued", "queued")] * 3
        titles = [step.title for step in steps(session, found[0], message)]
    assert titles[2:] == ["Confirmed by the broker", "Queued again by itself"]
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
    assert len(claimed) == 3, "the relay takes them at once"


async def test_a_lost_retry_goes_on_with_its_next_attempt(crm: Crm) -> None:
    members = {"kind": OutcomeKind.deferred, "next_at": now() + timedelta(minutes=2)}
    rows = await asyncio.to_thread(sent, crm, 2, **members)
    async with comparing(crm) as made:
        await made.look()
        assert urgent(await made.look()) == (0, 0, 0), "its time has not come"
        await grow_old(made, rows)
        made.say(wait_4h=2)
        assert urgent(await made.look()) == (2, 0, 0), "a wait queue lets go in turn"
        made.say()
        await made.look()
    assert states(crm, rows) == {"pending"}
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
        letters = outbox.Letters()
        letters.load(session, claimed)
    assert [row.attempt for row in claimed] == [1, 1]
    before = letters.before(claimed[0])
    assert before
    assert before.unknowns == 0
    assert before.first_seen < now()


async def test_a_lost_second_try_of_an_unknown_one_says_that_it_was_unknown_once(crm: Crm) -> None:
    members = {"kind": OutcomeKind.unknown, "next_at": now() + timedelta(minutes=10)}
    rows = await asyncio.to_thread(sent, crm, 1, **members)
    async with comparing(crm) as made:
        await made.look()
        await grow_old(made, rows)
        await made.look()
    assert states(crm, rows) == {"pending"}
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
        letters = outbox.Letters()
        letters.load(session, claimed)
    before = letters.before(claimed[0])
    assert before
    assert before.unknowns == 1


async def test_what_the_ledger_may_have_forgotten_is_shown_and_not_requeued(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm)
    async with comparing(crm) as made:
        await made.look()
        await grow_old(made, rows)
        await asyncio.to_thread(move_back, crm, timedelta(days=20), *(row.id for row in rows))
        assert urgent(await made.look()) == (3, 0, 3)
    assert states(crm, rows) == {"queued"}


async def test_an_outcome_that_comes_after_all_decides(crm: Crm) -> None:
    rows = await asyncio.to_thread(sent, crm, 1)
    async with comparing(crm) as made:
        await made.look()
        await grow_old(made, rows)
        await made.look()
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
    with crm.database.write() as session:
        outcomes.apply(session, [outcome_of(rows[0])], now())
    with crm.database.write() as session:
        outbox.mark_queued(session, claimed, now())
    assert states(crm, rows) == {"accepted"}


async def test_one_of_several_dispatches_compares(crm: Crm) -> None:
    async with comparing(crm) as one, comparing(crm) as other:
        assert await one.reconciler.compare()
        assert not await other.reconciler.compare()
