"""Letters that were written by a clock that was ahead of ours: a machine set wrong, or set right a moment ago.

Theirs to wait would be as long as that clock was wrong; a letter that should leave at once must not wait an hour.
"""

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta

from sqlalchemy import select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from crm_api.changes import announce
from crm_api.messages.models import Delivery, Message
from crm_api.writer import Writer
from shared.clock import now
from shared.ids import earliest_id

log = logging.getLogger("clock")

EVERY_SECONDS = 5.0
MARGIN = timedelta(seconds=2)  # machines that agree this well may wait it out
MOST = 500  # letters at a time


def bring_forward(session: Session, at: datetime) -> int:
    """What is not planned for a time of its own leaves as soon as its sender wanted; returns how many were moved.

    No letter was made later than its id says (messages/planning.py): of all letters only those with an id from the
    future are looked at, usually none.
    """
    rows = session.execute(
        select(col(Delivery.id), col(Delivery.created_at), col(Delivery.due_at))
        .join(Message, col(Message.id) == col(Delivery.message_id))
        .where(
            col(Delivery.id) > earliest_id(at + MARGIN),
            text("delivery.state = 'pending'"),
            col(Delivery.claimed_until).is_(None),
            col(Delivery.due_at) > at + MARGIN,
            col(Delivery.created_at) > at + MARGIN,
            col(Message.send_at).is_(None),
        )
        .order_by(col(Delivery.id))
        .limit(MOST)
    ).all()
    for delivery, created_at, due_at in rows:
        session.execute(
            update(Delivery)
            .where(col(Delivery.id) == delivery, text("delivery.state = 'pending'"))
            .values(due_at=at + (due_at - created_at))  # the time to undo it remains
            .execution_options(synchronize_session=False)
        )
    if rows:
        announce(session, "outbox")
    return len(rows)


async def keep_right(writer: Writer) -> None:
    while True:
        with contextlib.suppress(SQLAlchemyError):  # the relays say it, too
            if moved := await writer.do(lambda session: bring_forward(session, now())):
                log.warning("%d letters were written by a clock that is ahead of ours", moved)
        await asyncio.sleep(EVERY_SECONDS)
