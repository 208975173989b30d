"""A message's figures: how many of its deliveries are in which state, kept in the transaction that moves them."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, bindparam, case, func, update
from sqlmodel import Session

from crm_api.changes import announce
from crm_api.messages.models import Message
from crm_api.messages.states import LOUDEST, OPEN, State

# (message, old state, new state)
Move = tuple[UUID, str, str]


def _after(state: State) -> Any:
    column = getattr(Message.__table__.c, state)  # type: ignore[attr-defined]
    return column + bindparam(f"d_{state}", type_=Integer)


_table = Message.__table__  # type: ignore[attr-defined]
_open_after = sum((_after(state) for state in OPEN[1:]), _after(OPEN[0]))
_UPDATE = (
    update(_table)
    .where(_table.c.id == bindparam("message"))
    .values(
        {_table.c[state]: _after(state) for state in State}
        | {
            _table.c.state: case(*((_after(state) > 0, str(state)) for state in LOUDEST), else_=str(State.cancelled)),
            _table.c.done_at: case(
                (_open_after > 0, None),
                else_=func.coalesce(_table.c.done_at, bindparam("now", type_=_table.c.done_at.type)),
            ),
        }
    )
)


def count_moves(session: Session, moves: Iterable[Move], at: datetime) -> None:
    """Adds the moves to the figures of their messages, in the order of the ids so that two writers cannot block
    each other, and tells who watches them."""
    deltas: dict[UUID, Counter[str]] = {}
    for message, old, new in moves:
        delta = deltas.setdefault(message, Counter())
        delta[old] -= 1
        delta[new] += 1
    add_to_counts(session, deltas, at)


def add_to_counts(session: Session, deltas: dict[UUID, Counter[str]], at: datetime) -> None:
    """Message → state → by how much its figure changes."""
    if not deltas:
        return
    session.connection().execute(
        _UPDATE,
        [
            {"message": message, "now": at, **{f"d_{state}": deltas[message][state] for state in State}}
            for message in sorted(deltas)
        ],
    )
    announce(session, "messages", "system", *(f"message:{message}" for message in deltas))
