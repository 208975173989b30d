"""The model can fail: each of these small mistakes, made in the product, breaks a promise in it.

Each comes with the shortest story that shows it. Hypothesis finds such stories by itself, some of them after minutes:
`pytest tests/model/test_mutations.py --hypothesis-profile=long`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from crm_api.messages import actions
from crm_api.messages.states import State
from crm_api.outbox import relay, store
from crm_api.outcomes import listener
from crm_api.outcomes import store as outcomes
from email_service import outcome
from email_service.consumer import Intake
from email_service.ledger import Ledger
from email_service.outcome import Verdict
from email_service.report import Reporter
from email_service.send import Sender, Then
from email_service.transports import dialogue
from shared.amqp import Delivery
from shared.contracts import OutcomeKind
from tests.model import books, stories
from tests.model.effort import LONG, effort
from tests.model.house import House, Town
from tests.model.machine import Pipeline

Patch = pytest.MonkeyPatch


def acks_before_it_sends(patch: Patch) -> None:
    sends = Intake._on_delivery

    async def mistake(self: Intake, delivery: Delivery) -> None:
        delivery.ack()
        await sends(self, delivery)

    patch.setattr(Intake, "_on_delivery", mistake)


def claims_without_the_ledger(patch: Patch) -> None:
    async def mistake(*_: Any) -> bool:
        return True

    patch.setattr(Ledger, "claim", mistake)


def does_not_write_down_what_came_of_it(patch: Patch) -> None:
    async def mistake(*_: Any) -> bool:
        return True

    patch.setattr(Ledger, "finish", mistake)


def does_not_wait_until_its_report_is_confirmed(patch: Patch) -> None:
    reports = Reporter.outcome
    kept = []

    async def mistake(self: Reporter, told: Any) -> None:
        report = reports(self, told)
        kept.append(report)
        report.send(None)

    patch.setattr(Reporter, "outcome", mistake)


def acks_before_the_next_attempt_is_in_its_queue(patch: Patch) -> None:
    puts_aside = Intake._put_aside

    async def mistake(self: Intake, delivery: Delivery, *more: Any) -> None:
        delivery.ack()
        await puts_aside(self, delivery, *more)

    patch.setattr(Intake, "_put_aside", mistake)


def acks_what_has_failed(patch: Patch) -> None:
    settles = Intake._settle

    async def mistake(self: Intake, delivery: Delivery, job: Any, decision: Any) -> None:
        if decision.then is Then.dead_letter:
            decision = type(decision)(Then.ack, decision.outcome)
        await settles(self, delivery, job, decision)

    patch.setattr(Intake, "_settle", mistake)


def calls_silence_after_the_dot_a_deferral(patch: Patch) -> None:
    says = outcome.of_break

    def mistake(phase: str, what: str) -> Verdict:
        verdict = says(phase, what)
        verdict.kind = OutcomeKind.deferred
        return verdict

    patch.setattr(dialogue, "of_break", mistake)


def thinks_that_what_a_dead_worker_began_was_not_sent(patch: Patch) -> None:
    decides = Sender._decide

    def mistake(self: Sender, job: Any, conversation: Any, started_at: Any) -> Any:
        if conversation.verdict.phase == "ledger":
            conversation.verdict.kind = OutcomeKind.deferred
        return decides(self, job, conversation, started_at)

    patch.setattr(Sender, "_decide", mistake)


def takes_what_was_not_confirmed_for_queued(patch: Patch) -> None:
    def mistake(session: Any, claimed: Any, certain: bool, at: Any) -> None:
        store.mark_queued(session, claimed, at)

    patch.setattr(store, "release", mistake)


def lets_a_letter_be_cancelled_that_the_broker_may_have(patch: Patch) -> None:
    releases = store.release
    patch.setattr(store, "release", lambda session, claimed, certain, at: releases(session, claimed, True, at))


def acks_an_event_before_it_is_committed(patch: Patch) -> None:
    hears = listener.OutcomeListener.on_delivery

    async def mistake(self: Any, delivery: Delivery) -> None:
        delivery.ack()
        await hears(self, delivery)

    patch.setattr(listener.OutcomeListener, "on_delivery", mistake)


def believes_the_last_event_that_came(patch: Patch) -> None:
    patch.setattr(outcomes, "after_outcome", lambda *event: State(event[3]))


def counts_an_event_twice(patch: Patch) -> None:
    counts = outcomes.count_moves
    patch.setattr(outcomes, "count_moves", lambda session, moves, at: counts(session, [*moves, *moves[:1]], at))


def leaves_the_dead_letter_of_what_is_sent_again(patch: Patch) -> None:
    patch.setattr(actions, "delivery_key", lambda delivery, generation: f"{delivery}.{generation + 1}")


def forgets_which_generation_it_is(patch: Patch) -> None:
    publishes = relay.Relay._command

    def mistake(self: Any, row: Any) -> Any:
        body, properties = publishes(self, row)
        return body.replace(f'"generation":{row.generation}'.encode(), b'"generation":1'), properties

    patch.setattr(relay.Relay, "_command", mistake)


MISTAKES: list[tuple[Callable[[Patch], None], Callable[[House], None]]] = [
    (acks_before_it_sends, stories.a_worker_dies_early),
    (claims_without_the_ledger, stories.two_copies_at_once),
    (does_not_write_down_what_came_of_it, stories.its_ack_is_lost),
    (does_not_wait_until_its_report_is_confirmed, stories.its_report_is_lost),
    (acks_before_the_next_attempt_is_in_its_queue, stories.its_next_attempt_is_lost),
    (acks_what_has_failed, stories.it_is_refused),
    (calls_silence_after_the_dot_a_deferral, stories.the_server_hangs_up_after_the_dot),
    (thinks_that_what_a_dead_worker_began_was_not_sent, stories.a_worker_dies_after_the_dot),
    (takes_what_was_not_confirmed_for_queued, stories.its_command_is_lost),
    (lets_a_letter_be_cancelled_that_the_broker_may_have, stories.its_confirm_is_lost),
    (acks_an_event_before_it_is_committed, stories.dispatch_dies_before_it_commits),
    (believes_the_last_event_that_came, stories.an_event_comes_again_late),
    (counts_an_event_twice, stories.it_is_refused),
    (leaves_the_dead_letter_of_what_is_sent_again, stories.it_is_sent_again),
    (forgets_which_generation_it_is, stories.it_is_sent_again),
]


@pytest.mark.parametrize(("mistake", "story"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
def test_a_story_shows(mistake: Callable[[Patch], None], story: Callable[[House], None], town: Town) -> None:
    told(story, town)
    with pytest.MonkeyPatch.context() as patch:
        mistake(patch)
        with pytest.raises(AssertionError):
            told(story, town)


def told(story: Callable[[House], None], town: Town) -> None:
    house = House(town)
    try:
        story(house)
        books.settle(house)
    finally:
        house.close()


@pytest.mark.skipif(not LONG, reason="takes minutes: --hypothesis-profile=long")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mistake", [mistake for mistake, _ in MISTAKES], ids=lambda mistake: mistake.__name__)
def test_hypothesis_finds(mistake: Callable[[Patch], None], town: Town) -> None:
    searching = effort(400, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.MonkeyPatch.context() as patch:
        mistake(patch)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(lambda: Pipeline(town), settings=searching)  # type: ignore[arg-type]
