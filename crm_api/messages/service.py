"""The verbs of messages. Each takes the session of one transaction and never commits."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, insert, update
from sqlmodel import Session, col, select

from crm_api.auth.principal import Principal
from crm_api.changes import announce
from crm_api.customers.models import Customer
from crm_api.errors import NotFound
from crm_api.messages.attachments import attach, store_file
from crm_api.messages.compose import prepare
from crm_api.messages.models import Delivery, Message, MessageAttachment, Suppression
from crm_api.messages.recipients import Recipient
from crm_api.messages.schemas import MessageDraft
from crm_api.messages.states import State
from crm_api.paging import make_cursor, read_cursor
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.files import FileStore
from shared.ids import new_id

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
    at = now()
    prepared = prepare(session, settings, draft, at)
    letter = prepared.letter
    message_id = new_id()
    attached = attach(session, files, settings, message_id, draft.attachments)
    undo_until = at + timedelta(seconds=draft.undo_seconds) if draft.undo_seconds else None
    due_at = max(filter(None, (at, undo_until, draft.send_at)))
    suppressed = _suppressed(session, [recipient.address for recipient in prepared.recipients])
    message = Message(
        id=message_id,
        created_at=at,
        clicked_at=clicked_at,
        author_id=principal.user_id,
        author=principal.name,
        via=principal.via,
        lane=draft.lane,
        sender_name=prepared.sender_name,
        sender_address=prepared.sender_address,
        reply_to=prepared.reply_to,
        subject=draft.subject,
        markdown=draft.markdown,
        text=letter.text.source,
        html=letter.html.source if letter.html else None,
        size=letter.size + sum(row.size for row in attached),
        send_at=draft.send_at,
        undo_until=undo_until,
        expires_at=due_at + timedelta(hours=settings.expire_hours),
        planned=len(prepared.recipients),
        suppressed=sum(recipient.address in suppressed for recipient in prepared.recipients),
    )
    message.pending = message.planned - message.suppressed
    if not message.pending:
        message.state, message.done_at = State.suppressed, at
    session.add(message)
    session.flush()
    session.add_all(attached)
    session.flush()
    session.connection().execute(
        insert(Delivery.__table__),  # type: ignore[attr-defined]
        [_delivery(message, recipient, letter.fields, due_at, suppressed) for recipient in prepared.recipients],
    )
    _written_to(session, prepared.recipients, at)
    announce(session, "outbox", "messages", "system", f"message:{message.id}")
    return message


def _delivery(
    message: Message, recipient: Recipient, used: set[str], due_at: datetime, suppressed: dict[str, str]
) -> dict[str, object]:
    why = suppressed.get(recipient.address)
    return {
        "id": new_id(),
        "message_id": message.id,
        "customer_id": recipient.customer_id,
        "address": recipient.address,
        "name": recipient.name,
        "fields": {name: recipient.values[name] for name in sorted(used) if recipient.values.get(name)},
        "lane": message.lane,
        "state": State.suppressed if why else State.pending,
        "generation": 1,
        "attempt": 0,
        "created_at": message.created_at,
        "due_at": due_at,
        "expires_at": message.expires_at,
        "done_at": message.created_at if why else None,
        "reason": why,
    }


def _suppressed(session: Session, addresses: list[str]) -> dict[str, str]:
    """Address → why, of those that take no mail."""
    rows = session.exec(select(Suppression).where(col(Suppression.address).in_(addresses)))
    return {row.address: row.reason for row in rows}


def _written_to(session: Session, recipients: list[Recipient], at: datetime) -> None:
    ids = sorted({recipient.customer_id for recipient in recipients if recipient.customer_id})
    if ids:
        session.execute(update(Customer).where(col(Customer.id).in_(ids)).values(written_at=at))
        announce(session, *(f"customer:{customer}" for customer in ids))


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
    """Newest first. query: words in the subject, or the beginning of a recipient's address."""
    rows = select(Message).order_by(col(Message.id).desc()).limit(limit + 1)
    if state:
        rows = rows.where(col(Message.state).in_(state.split(",")))
    if query:
        word = query.strip().lower()
        to = select(Delivery.message_id).where(func.lower(col(Delivery.address)).startswith(word, autoescape=True))
        rows = rows.where(func.lower(col(Message.subject)).contains(word, autoescape=True) | col(Message.id).in_(to))
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
    if message_id:
        rows = rows.where(Delivery.message_id == message_id)
    if customer_id:
        rows = rows.where(Delivery.customer_id == customer_id)
    if state:
        rows = rows.where(col(Delivery.state).in_(state.split(",")))
    if cursor:
        rows = rows.where(col(Delivery.id) > read_cursor(cursor, UUID)[0])
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1].id) if len(found) > limit else None


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
