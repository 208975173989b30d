"""The states of a delivery and the one table that says which may follow which.

Late, repeated and shuffled events are harmless: an event that the table does not allow changes nothing.
"""

from enum import StrEnum

from shared.contracts import OutcomeKind


class State(StrEnum):
    pending = "pending"  # in the database, not yet with the broker
    queued = "queued"  # confirmed by the broker
    accepted = "accepted"  # an SMTP server has taken it
    deferred = "deferred"  # waits for another try, by itself
    failed = "failed"  # given up
    unknown = "unknown"  # the link died between the final dot and the reply
    suppressed = "suppressed"  # the address takes no mail; nothing was tried
    cancelled = "cancelled"  # undone by a person before it left
    discarded = "discarded"  # failed or unknown, and a person let it be
    bounced = "bounced"  # accepted, and sent back later


_OUTCOMES = {State.accepted, State.deferred, State.failed, State.unknown}

TRANSITIONS: dict[State, set[State]] = {
    # an outcome may overtake the relay's own mark, so pending knows them, too
    State.pending: {State.queued, State.suppressed, State.cancelled, *_OUTCOMES},
    # back to pending: the broker has lost it, and the relay publishes it again (decision 8)
    State.queued: {*_OUTCOMES, State.pending},
    State.deferred: {*_OUTCOMES, State.pending},
    State.unknown: {*_OUTCOMES, State.pending, State.discarded},
    # accepted: the broker gave a copy up, and another one that it had was sent after all
    State.failed: {State.accepted, State.pending, State.discarded},
    State.suppressed: {State.pending},
    State.accepted: {State.bounced},
    State.cancelled: set(),
    State.discarded: set(),
    State.bounced: {State.pending},
}

OPEN = (State.pending, State.queued, State.deferred)  # the machine is still at it
NEEDS_PERSON = (State.failed, State.unknown, State.bounced)
RETRYABLE = (State.unknown, State.failed, State.suppressed, State.bounced)  # by a person, as a new generation
REQUEUEABLE = (State.queued, State.deferred, State.unknown)  # as the same one; unknown only while it tries again
DISCARDABLE = tuple(state for state in State if State.discarded in TRANSITIONS[state])

# the state of a message with several deliveries is the first of these that one of them has
LOUDEST = (
    State.failed,
    State.unknown,
    State.bounced,
    State.deferred,
    State.pending,
    State.queued,
    State.accepted,
    State.suppressed,
    State.discarded,
    State.cancelled,
)


def allowed(old: State, new: State) -> bool:
    return new in TRANSITIONS[old]


def after_outcome(
    state: State, generation: int, attempt: int, outcome: OutcomeKind, its_generation: int, its_attempt: int
) -> State | None:
    """The state after an outcome event, or None if the event changes nothing (late, repeated, shuffled).

    attempt: the newest attempt of this generation whose outcome is known, 0 before the first.
    """
    new = State(outcome)
    # a worker that was thought dead has woken up and knows what nobody knew
    known_after_all = its_attempt == attempt and state == State.unknown and new == State.accepted
    if its_generation != generation or (its_attempt <= attempt and not known_after_all):
        return None
    return new if allowed(state, new) else None
