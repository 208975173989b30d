"""An event that cannot be applied, whatever is tried, is set aside: into the dead letters, with its reason on the page.

What matters is to tell it from a database that cannot be written at the moment, for which every event waits.
"""

import logging

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from crm_api.changes import announce
from crm_api.reconciliation.models import Stranger
from shared.amqp import Delivery, key_of
from shared.clock import now
from shared.contracts import storable

log = logging.getLogger("outcomes")

MOST_NOTED = 1000  # a flood of bad events fills the broker's queue and no table of ours
MAX_WHY = 500


def told(problem: BaseException) -> str:
    """For the page: what, without the event's own values, which a database's error would show."""
    if isinstance(problem, DBAPIError):
        problem = problem.orig or problem
        return f"The database refuses it: {type(problem).__name__}."
    return f"It cannot be applied: {type(problem).__name__}: {problem}"


def note(session: Session, delivery: Delivery, why: str) -> None:
    """Why it lies in the dead letters, where reconciliation will find it under the same key."""
    if session.execute(select(func.count()).select_from(Stranger)).scalar_one() >= MOST_NOTED:
        return
    session.merge(
        Stranger(
            key=key_of(delivery.properties, delivery.body),
            type=storable(delivery.properties.type or ""),
            reason="rejected",
            routing_key=storable(delivery.routing_key),
            size=len(delivery.body),
            died_at=now(),
            why=storable(why)[:MAX_WHY],
        )
    )
    announce(session, "reconciliation", "system")
