"""What the mail room reports becomes the state of deliveries. Repeated, late and shuffled events change nothing."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table, and_, bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from crm_api.changes import announce
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages import secret_fields
from crm_api.messages.counts import Move, count_moves
from crm_api.messages.models import Attempt, Delivery, Suppression
from crm_api.messages.states import OPEN, State, after_outcome
from shared.addresses import address_key
from shared.contracts import AttemptStarted, Outcome, OutcomeKind, delivery_key

log = logging.getLogger("outcomes")

_deliveries: Table = Delivery.__table__  # type: ignore[attr-defined]
_kind = Attempt.__table__.c.kind  # type: ignore[attr-defined]
_NEWEST = ("reason", "code", "enhanced", "reply", "server", "queue_id", "next_at")
_UPDATE = (
    update(_deliveries)
    .where(_deliveries.c.id == bindparam("delivery"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("state", "attempt", "done_at", *_NEWEST)} | {"claimed_until": None}
    )
)


@dataclass(slots=True)
class _Now:
    """A delivery as it is at this point of the batch."""

    message: UUID
    customer: UUID | None
    address: str
    state: State
    generation: int
    attempt: int
    tries_again: bool
    secret: bool  # carries what is for its recipient alone

    @property
    def is_dead_letter(self) -> bool:
        return self.state in (State.failed, State.unknown) and not self.tries_again

    @property
    def has_spent_its_secret(self) -> bool:
        return self.secret and self.state not in OPEN and not self.tries_again

    def has_overtaken(self, outcome: Outcome) -> bool:
        """Whether this dead letter of its newest attempt is known to have been accepted after all."""
        return (
            self.state in (State.accepted, State.bounced)
            and (self.generation, self.attempt) == (outcome.generation, outcome.attempt)
            and outcome.kind is OutcomeKind.unknown
            and outcome.next_at is None
        )


def apply(session: Session, outcomes: list[Outcome], at: datetime) -> None:
    """Records every attempt and moves the deliveries that the transition table lets move."""
    known = _load(session, {outcome.delivery for outcome in outcomes})
    moves: list[Move] = []
    changes: dict[UUID, dict[str, Any]] = {}
    attempts: dict[tuple[UUID, int, int], dict[str, Any]] = {}
    for outcome in outcomes:
        delivery = known.get(outcome.delivery)
        if delivery is None:
            log.warning("outcome of an unknown delivery %s is dropped", outcome.delivery)
            continue
        name = outcome.delivery, outcome.generation, outcome.attempt
        if name not in attempts or _knows_better(outcome, attempts[name]["kind"]):
            attempts[name] = _attempt(outcome)
        new = after_outcome(
            delivery.state, delivery.generation, delivery.attempt, outcome.kind, outcome.generation, outcome.attempt
        )
        if new is None:
            if delivery.has_overtaken(outcome):
                _resolve(session, outcome)
            continue
        if delivery.is_dead_letter:
            _resolve(session, outcome)
        moves.append((delivery.message, delivery.state, new))
        delivery.state, delivery.attempt = new, outcome.attempt
        delivery.tries_again = outcome.next_at is not None
        changes[outcome.delivery] = {
            "delivery": outcome.delivery,
            "new_state": new,
            "new_attempt": outcome.attempt,
            "new_done_at": None if new in OPEN else outcome.finished_at,
            **{f"new_{name}": getattr(outcome, name) for name in _NEWEST},
        }
        if outcome.suppress and new is State.failed:  # what may still arrive says nothing final about an address
            _suppress(session, delivery.address, outcome)
    if attempts:
        _record(session, list(attempts.values()))
    if changes:
        session.connection().execute(_UPDATE, [changes[key] for key in sorted(changes)])
    ended = [key for key in changes if known[key].has_spent_its_secret]
    for state in {known[key].state for key in ended}:
        secret_fields.forget(session, [key for key in ended if known[key].state == state], state)
    count_moves(session, moves, at)
    announce(session, *(f"customer:{known[key].customer}" for key in changes if known[key].customer))


def begin(session: Session, started: list[AttemptStarted]) -> None:
    """A conversation is taking a while: its page says who is at it."""
    known = _load(session, {event.delivery for event in started})
    rows = [
        {
            "delivery_id": event.delivery,
            "generation": event.generation,
            "attempt": event.attempt,
            "worker": event.worker,
            "host": event.host,
            "received_at": event.received_at,
            "talk": [],
        }
        for event in started
        if event.delivery in known
    ]
    if rows:
        session.connection().execute(_insert(session, Attempt).on_conflict_do_nothing(), rows)
        announce(session, *(f"message:{known[event.delivery].message}" for event in started if event.delivery in known))


def _load(session: Session, ids: set[UUID]) -> dict[UUID, _Now]:
    rows = session.execute(
        select(
            _deliveries.c.id,
            _deliveries.c.message_id,
            _deliveries.c.customer_id,
            _deliveries.c.address,
            _deliveries.c.state,
            _deliveries.c.generation,
            _deliveries.c.attempt,
            _deliveries.c.next_at,
            secret_fields.there(),
        )
        .where(_deliveries.c.id.in_(ids))
        .order_by(_deliveries.c.id)
        .with_for_update()
    )
    return {
        row.id: _Now(row[1], row[2], row[3], State(row[4]), row[5], row[6], row[7] is not None, row[8]) for row in rows
    }


def _knows_better(outcome: Outcome, kind: str) -> bool:
    """As in _record: a worker that was thought dead has woken up."""
    return kind == OutcomeKind.unknown and outcome.kind is OutcomeKind.accepted


def _attempt(outcome: Outcome) -> dict[str, Any]:
    row = {name: getattr(outcome, name) for name in _ATTEMPT}
    return row | {
        "delivery_id": outcome.delivery,
        "kind": str(outcome.kind),
        "talk": msgspec.to_builtins(outcome.talk),
    }


_ATTEMPT = tuple(
    name for name in Attempt.model_fields if name in Outcome.__struct_fields__ and name not in ("kind", "talk")
)


def _record(session: Session, rows: list[dict[str, Any]]) -> None:
    insert = _insert(session, Attempt)
    keys = ("delivery_id", "generation", "attempt")
    session.connection().execute(
        insert.on_conflict_do_update(
            index_elements=keys,
            set_={name: insert.excluded[name] for name in rows[0] if name not in keys},
            where=or_(_kind.is_(None), and_(_kind == State.unknown, insert.excluded.kind == State.accepted)),
        ),
        rows,
    )


def _resolve(session: Session, outcome: Outcome) -> None:
    """It lay in mail.dead.v1 and was accepted after all."""
    row = {"key": delivery_key(outcome.delivery, outcome.generation), "created_at": outcome.finished_at}
    session.connection().execute(_insert(session, DeadLetterRemoval).on_conflict_do_nothing(), [row])
    announce(session, "dead_letters")


def _suppress(session: Session, address: str, outcome: Outcome) -> None:
    row = {
        "address": address_key(address),
        "since": outcome.finished_at,
        "reason": f"{outcome.reason} Nothing is written to it until somebody decides.",
        "delivery_id": outcome.delivery,
    }
    session.connection().execute(_insert(session, Suppression).on_conflict_do_nothing(), [row])


def _insert(session: Session, kind: Any) -> Any:
    """An INSERT that knows ON CONFLICT, which is a dialect's own."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(kind.__table__)
