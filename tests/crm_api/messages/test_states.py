"""The transition table against every order in which events can come."""

from hypothesis import given
from hypothesis import strategies as st

from crm_api.messages.states import LOUDEST, TRANSITIONS, State, after_outcome, allowed
from shared.contracts import OutcomeKind

KINDS = st.sampled_from(list(OutcomeKind))


def test_every_state_has_a_row_and_a_place_among_the_loudest() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(LOUDEST) == set(State)


def test_the_designs_ways_are_open_and_no_others_out_of_the_ends() -> None:
    assert allowed(State.pending, State.queued)
    assert allowed(State.failed, State.pending)
    assert allowed(State.accepted, State.bounced)
    for end in (State.cancelled, State.discarded):
        assert not TRANSITIONS[end]


def test_a_repeated_or_late_outcome_changes_nothing() -> None:
    assert after_outcome(State.accepted, 1, 1, OutcomeKind.accepted, 1, 1) is None
    assert after_outcome(State.deferred, 1, 3, OutcomeKind.accepted, 1, 2) is None
    assert after_outcome(State.pending, 2, 0, OutcomeKind.failed, 1, 1) is None


def test_a_worker_that_wakes_up_may_still_say_that_it_was_accepted() -> None:
    assert after_outcome(State.unknown, 1, 1, OutcomeKind.accepted, 1, 1) is State.accepted
    assert after_outcome(State.unknown, 1, 2, OutcomeKind.accepted, 1, 1) is None
    for kind in (OutcomeKind.deferred, OutcomeKind.failed, OutcomeKind.unknown):
        assert after_outcome(State.unknown, 1, 1, kind, 1, 1) is None


def test_nothing_takes_an_accepted_letter_back() -> None:
    for kind in OutcomeKind:
        assert after_outcome(State.accepted, 1, 1, kind, 1, 2) is None


def test_a_cancelled_letter_stays_cancelled() -> None:
    for kind in OutcomeKind:
        assert after_outcome(State.cancelled, 1, 0, kind, 1, 1) is None


@given(attempts=st.lists(KINDS, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_shuffled_and_tripled_events_end_where_the_newest_attempt_ended(
    attempts: list[OutcomeKind], order: object
) -> None:
    """A mail room goes on only after deferred or unknown; the events may come in any order, three times each."""
    going = (OutcomeKind.deferred, OutcomeKind.unknown)
    last = next((n for n, kind in enumerate(attempts) if kind not in going), len(attempts) - 1)
    told = [(number, kind) for number, kind in enumerate(attempts[: last + 1], 1)]
    events = told * 3
    order.shuffle(events)  # type: ignore[attr-defined]
    state, attempt = State.queued, 0
    for number, kind in events:
        new = after_outcome(state, 1, attempt, kind, 1, number)
        if new:
            state, attempt = new, number
    assert (attempt, state) == told[-1]
