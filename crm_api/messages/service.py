"""The verbs of messages. Each takes the session of one transaction and never commits."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, func, literal_column, text, true, union_all
from sqlmodel import Session, col, select

from crm_api.auth.principal import Principal
from crm_api.errors import NotFound
from crm_api.hot import Hot
from crm_api.messages.attachments import store_file
from crm_api.messages.finding import fitting
from crm_api.messages.models import WATCHED, Delivery, Message, MessageAttachment
from crm_api.messages.planning import hold_back, plan, store
from crm_api.messages.schemas import MessageDraft
from crm_api.messages.states import State
from crm_api.paging import make_cursor, read_cursor
from crm_api.settings import CrmSettings
from shared.files import FileStore
from shared.lanes import Lane

__all__ = [
    "attachments",
    "create",
    "deliveries",
    "get",
    "get_delivery",
    "list_page",
    "recipients_summary",
    "store_file",
]


def create(
    session: Session,
    files: FileStore,
    settings: CrmSettings,
    draft: MessageDraft,
    principal: Principal,
    clicked_at: datetime,
) -> Message:
    """The message with one delivery per recipient, pending. Raises Invalid or TooLarge and then changes nothing."""
    planned = plan(session, files, settings, draft, principal, clicked_at)
    connection = session.connection()
    hot = Hot(connection.connection.driver_connection, connection.dialect)
    hold_back(hot, [planned])
    store(hot, [planned])
    return get(session, planned.id)


def get(session: Session, message_id: UUID) -> Message:
    message = session.get(Message, message_id)
    if message is None:
        raise NotFound("There is no such message.")
    return message


def list_page(
    session: Session,
    *,
    state: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Message], str | None]:
    """Newest first. query: beginnings of words in the subject, or of a recipient's address."""
    rows = select(Message).order_by(col(Message.id).desc()).limit(limit + 1)
    if state:
        rows = rows.where(col(Message.state).in_(state.split(",")))
    if query:
        rows = rows.where(fitting(session, query))
    if cursor:
        rows = rows.where(col(Message.id) < read_cursor(cursor, UUID)[0])
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1].id) if len(found) > limit else None


def deliveries(
    session: Session,
    message_id: UUID | None = None,
    *,
    customer_id: UUID | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Delivery], str | None]:
    """In the order they were written."""
    rows = select(Delivery).order_by(col(Delivery.id)).limit(limit + 1)
    states = set(state.split(",")) if state else set()
    after = col(Delivery.id) > read_cursor(cursor, UUID)[0] if cursor else true()
    if states and State.accepted not in states and not customer_id:
        rows = rows.where(col(Delivery.id).in_(_watched(session, states, message_id, after, limit + 1)))
    else:
        rows = rows.where(after)
        if message_id:
            rows = rows.where(Delivery.message_id == message_id)
        if customer_id:
            rows = rows.where(Delivery.customer_id == customer_id)
        if states:
            rows = rows.where(col(Delivery.state).in_(states))
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1].id) if len(found) > limit else None


def _watched(
    session: Session, states: set[str], message_id: UUID | None, after: ColumnElement[bool], most: int
) -> CompoundSelect[Any]:
    """Ids of deliveries in these states, none of which is accepted: each state and lane is a stretch of
    ix_delivery_watched in the order of the ids, so three that failed are found at once among a million."""
    wanted: list[Any] = [text(WATCHED), after]
    if message_id:  # its deliveries were written together: their ids lie beside one another
        its = select(Delivery.id).where(Delivery.message_id == message_id).limit(1)
        first = its.order_by(col(Delivery.id)).scalar_subquery()
        last = its.order_by(col(Delivery.id).desc()).scalar_subquery()
        mine: Any = col(Delivery.message_id)
        if session.get_bind().dialect.name == "sqlite":  # it has no statistics and would look through the message
            mine = literal_column("+delivery.message_id", mine.type)
        wanted += [mine == message_id, col(Delivery.id).between(first, last)]
    stretches = [
        select(Delivery.id)
        .where(*wanted, Delivery.state == state, Delivery.lane == lane)
        .order_by(col(Delivery.id))
        .limit(most)
        .subquery()
        for state in sorted(states)
        for lane in Lane
    ]
    return union_all(*(select(*stretch.c) for stretch in stretches))


def get_delivery(session: Session, delivery_id: UUID) -> Delivery:
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise NotFound("There is no such delivery.")
    return delivery


def attachments(session: Session, message_id: UUID) -> list[MessageAttachment]:
    rows = select(MessageAttachment).where(MessageAttachment.message_id == message_id)
    return list(session.exec(rows.order_by(col(MessageAttachment.position))))


def recipients_summary(session: Session, message_ids: list[UUID], most: int = 3) -> dict[UUID, list[str]]:
    """Up to `most` names per message, for lists."""
    place = func.row_number().over(partition_by=col(Delivery.message_id), order_by=col(Delivery.id))
    ranked = (
        select(Delivery.message_id, Delivery.name, Delivery.address, place.label("place"))
        .where(col(Delivery.message_id).in_(message_ids))
        .subquery()
    )
    found: dict[UUID, list[str]] = {message_id: [] for message_id in message_ids}
    for row in session.execute(select(*ranked.c).where(ranked.c.place <= most).order_by(ranked.c.message_id)):
        found[row.message_id].append(row.name or row.address)
    return found
