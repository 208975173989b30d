"""What a person does with a delivery: cancel it before it leaves, send it again, let it be.

Each is a compare-and-set on the row, so a click that comes a moment too late is told so and changes nothing.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.changes import announce
from crm_api.customers.words import address_words
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.errors import Conflict, FieldProblem, Forbidden, Invalid
from crm_api.messages import secret_fields
from crm_api.messages.counts import count_moves
from crm_api.messages.models import Delivery, DeliveryEntry, Message, MessageWord, Suppression
from crm_api.messages.service import get, get_delivery
from crm_api.messages.states import DISCARDABLE, RETRYABLE, State
from crm_api.senders.allowed import check_sender
from crm_api.settings import CrmSettings
from shared.addresses import BadAddress, address_key, clean_address
from shared.clock import now
from shared.contracts import delivery_key

_WORDS = {
    State.pending: "is on its way to the broker",
    State.queued: "is with the mail room already",
    State.accepted: "was sent",
    State.deferred: "waits to be tried again",
    State.failed: "has failed",
    State.unknown: "has an unknown outcome",
    State.suppressed: "was not sent: the address takes no mail",
    State.cancelled: "was cancelled",
    State.discarded: "was discarded",
    State.bounced: "came back",
}


def cancel(session: Session, delivery_id: UUID, principal: Principal) -> Delivery:
    """Pending and not claimed by the relay, or Conflict."""
    delivery = get_delivery(session, delivery_id)
    message = _message_of(session, delivery, principal)
    if not _cancel(session, message, [delivery], principal):
        session.refresh(delivery)
        raise Conflict(f"This letter {_WORDS[State(delivery.state)]}; it can no longer be cancelled.")
    return delivery


def cancel_message(session: Session, message_id: UUID, principal: Principal) -> int:
    """Cancels what has not left yet; how many that were. Conflict if it was none."""
    message = get(session, message_id)
    check_own(message, principal)
    pending = session.exec(select(Delivery).where(Delivery.message_id == message.id, Delivery.state == State.pending))
    count = _cancel(session, message, list(pending), principal)
    if not count:
        raise Conflict("Nothing of this message can be cancelled any more: it is with the mail room already.")
    return count


def may_change(message: Message, principal: Principal) -> bool:
    """Their own letters, and those of others if their role says so."""
    if message.author_id == principal.user_id and principal.may("messages.change"):
        return True
    return principal.may("messages.change") and principal.may("messages.change_any")


def check_own(message: Message, principal: Principal) -> None:
    if not may_change(message, principal):
        raise Forbidden(f"{message.author} wrote this letter. They can do that, or a manager or operator.")


def _message_of(session: Session, delivery: Delivery, principal: Principal) -> Message:
    message = get(session, delivery.message_id)
    check_own(message, principal)
    return message


def _cancel(session: Session, message: Message, rows: list[Delivery], principal: Principal) -> int:
    at = now()
    cancelled = []
    for delivery in rows:
        changed = session.connection().execute(
            update(Delivery)
            .where(
                col(Delivery.id) == delivery.id,
                col(Delivery.state) == State.pending,
                col(Delivery.claimed_until).is_(None),
            )
            .values(state=State.cancelled, done_at=at)
        )
        if changed.rowcount:
            cancelled.append(delivery)
            _note(session, delivery, "cancelled", principal)
    for delivery in cancelled:
        session.refresh(delivery)
    secret_fields.forget(
        session, [row.id for row in cancelled if secret_fields.has_secret(row.fields)], State.cancelled
    )
    if cancelled:
        record(session, principal, "message.cancelled", message.id, message.subject, letters=len(cancelled))
    count_moves(session, ((row.message_id, State.pending, State.cancelled) for row in cancelled), at)
    _tell_customers(session, cancelled)
    return len(cancelled)


def retry(
    session: Session,
    settings: CrmSettings,
    delivery_id: UUID,
    principal: Principal,
    address: str | None = None,
) -> Delivery:
    """Sends it again as a new generation, to a new address if one is given. Also takes it out of mail.dead.v1."""
    delivery = get_delivery(session, delivery_id)
    message = _message_of(session, delivery, principal)
    _check_settled(delivery, RETRYABLE, "sent again")
    if secret_fields.has_secret(delivery.fields):
        raise Conflict(f"This letter cannot be sent again. {secret_fields.GONE}")
    try:
        to = clean_address(address) if address else delivery.address
    except BadAddress as problem:
        raise Invalid.field("address", str(problem)) from problem
    problems: list[FieldProblem] = []
    check_sender(session, settings, message.sender_name, message.sender_address, problems)
    if problems:
        raise Invalid(problems[0].message, *problems)
    at = now()
    before: dict[str, object] = {
        "address": delivery.address,
        "queued_at": delivery.queued_at.isoformat() if delivery.queued_at else None,
    }
    _note(session, delivery, "retried", principal, "" if to == delivery.address else to, before)
    session.execute(delete(Suppression).where(col(Suppression.address) == address_key(to)))
    _move(
        session,
        delivery,
        State.pending,
        address=to,
        generation=delivery.generation + 1,
        attempt=0,
        due_at=at,
        expires_at=at + timedelta(hours=settings.expire_hours),
        claimed_until=None,
        queued_at=None,
        next_at=None,
        done_at=None,
        reason=None,
        code=None,
        enhanced=None,
        reply=None,
        server=None,
        queue_id=None,
    )
    for word in address_words(to):
        session.merge(MessageWord(message_id=delivery.message_id, word=word))
    record(session, principal, "delivery.retried", message.id, message.subject, delivery=str(delivery.id), to=to)
    announce(session, "outbox")
    return delivery


def discard(session: Session, delivery_id: UUID, principal: Principal) -> Delivery:
    """Lets a failed or unknown one be. Also takes it out of mail.dead.v1."""
    delivery = get_delivery(session, delivery_id)
    message = _message_of(session, delivery, principal)
    _check_settled(delivery, DISCARDABLE, "discarded")
    _note(session, delivery, "discarded", principal)
    if secret_fields.has_secret(delivery.fields):
        secret_fields.forget(session, [delivery.id], State.discarded)
    _move(session, delivery, State.discarded, done_at=now())
    record(
        session,
        principal,
        "delivery.discarded",
        message.id,
        message.subject,
        delivery=str(delivery.id),
        to=delivery.address,
    )
    return delivery


def _check_settled(delivery: Delivery, states: tuple[State, ...], verb: str) -> None:
    if delivery.state not in states:
        raise Conflict(f"This letter {_WORDS[State(delivery.state)]}; it cannot be {verb}.")
    if delivery.next_at is not None:
        when = f"at {delivery.next_try:%H:%M} UTC" if delivery.next_try else "in a moment"
        raise Conflict(f"This letter is tried again by itself {when}; wait for that.")


def _move(session: Session, delivery: Delivery, state: State, **values: object) -> None:
    old, generation = delivery.state, delivery.generation
    changed = session.connection().execute(
        update(Delivery)
        .where(
            col(Delivery.id) == delivery.id,
            col(Delivery.state) == old,
            col(Delivery.generation) == generation,
        )
        .values(state=state, **values)
    )
    if not changed.rowcount:
        raise Conflict("This letter has just changed. Look again.")
    session.refresh(delivery)
    if old in (State.failed, State.unknown):
        session.merge(DeadLetterRemoval(key=delivery_key(delivery.id, generation)))
        announce(session, "dead_letters")
    count_moves(session, [(delivery.message_id, old, state)], now())
    _tell_customers(session, [delivery])


def _note(
    session: Session,
    delivery: Delivery,
    kind: str,
    principal: Principal,
    text: str = "",
    data: dict[str, object] | None = None,
) -> None:
    session.add(
        DeliveryEntry(
            delivery_id=delivery.id,
            generation=delivery.generation,
            kind=kind,
            by=principal.name,
            text=text,
            data=data or {},
        )
    )


def _tell_customers(session: Session, rows: list[Delivery]) -> None:
    announce(session, *(f"customer:{row.customer_id}" for row in rows if row.customer_id))
