"""A checked message as the rows that it will be: planned without holding up the database, stored with others at once.

`plan` finds every problem and only reads; `store` writes what was planned, several messages with a fixed number of
statements, and cannot find fault with any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlmodel import Session

from crm_api.audit.models import AuditEntry
from crm_api.audit.record import row as audit_row
from crm_api.auth.principal import Principal
from crm_api.auth.sealing import seal_of
from crm_api.customers.models import Customer
from crm_api.hot import Hot
from crm_api.messages import secret_fields
from crm_api.messages.attachments import attach
from crm_api.messages.compose import prepare
from crm_api.messages.finding import waiting_rows
from crm_api.messages.models import Delivery, DeliverySecret, Message, MessageAttachment, StoredFile, WaitingWords
from crm_api.messages.recipients import Recipient
from crm_api.messages.schemas import AttachmentOut, Counts, MessageDetail, MessageDraft
from crm_api.messages.states import State
from crm_api.settings import CrmSettings
from shared.addresses import address_key
from shared.clock import now
from shared.fields import SECRET
from shared.files import FileStore
from shared.ids import made_at, new_id

MOST_DELIVERIES = 1000  # in one answer

Row = dict[str, Any]  # column → value

_audit: Table = AuditEntry.__table__  # type: ignore[attr-defined]
_file: Table = StoredFile.__table__  # type: ignore[attr-defined]
_message: Table = Message.__table__  # type: ignore[attr-defined]
_attachment: Table = MessageAttachment.__table__  # type: ignore[attr-defined]
_delivery: Table = Delivery.__table__  # type: ignore[attr-defined]
_secret: Table = DeliverySecret.__table__  # type: ignore[attr-defined]
_words: Table = WaitingWords.__table__  # type: ignore[attr-defined]
_customer: Table = Customer.__table__  # type: ignore[attr-defined]
_none_yet: Row = dict.fromkeys(State, 0)
_nothing_yet: Row = {column.name: None for column in _delivery.columns if column.nullable}


@dataclass(frozen=True, slots=True)
class Plan:
    """Nothing of it is stored yet."""

    message: Row
    deliveries: list[Row]
    secrets: list[Row]  # of some deliveries
    attachments: list[MessageAttachment]
    files: list[StoredFile]  # that came with the draft
    audit: Row

    @property
    def id(self) -> UUID:
        found: UUID = self.message["id"]
        return found

    @property
    def words(self) -> list[Row]:
        """What it is found by."""
        return waiting_rows(self.id, self.message["subject"], [row["address"] for row in self.deliveries])

    @property
    def detail(self) -> MessageDetail:
        """As it is answered; right once it is stored."""
        return MessageDetail.model_validate(
            self.message
            | {
                "counts": Counts.model_validate(self.message),
                "attachments": [AttachmentOut.model_validate(row) for row in self.attachments],
                "deliveries": self.deliveries[:MOST_DELIVERIES],
            }
        )


def plan(
    session: Session,
    files: FileStore,
    settings: CrmSettings,
    draft: MessageDraft,
    principal: Principal,
    clicked_at: datetime,
) -> Plan:
    """Raises Invalid or TooLarge. Of bare addresses and without attachments, it does not even read."""
    message_id = new_id()
    at = min(now(), made_at(message_id))  # never later than its id says, if the clock is set meanwhile: outbox/clock.py
    prepared = prepare(session, settings, draft, at)
    letter = prepared.letter
    attached, new_files = attach(session, files, settings, message_id, draft.attachments)
    undo_until = at + timedelta(seconds=draft.undo_seconds) if draft.undo_seconds else None
    due_at = max(filter(None, (at, undo_until, draft.send_at)))
    planned = len(prepared.recipients)
    message = _none_yet | {
        "id": message_id,
        "created_at": at,
        "clicked_at": clicked_at,
        "author_id": principal.user_id,
        "author": principal.name,
        "via": principal.via,
        "lane": draft.lane,
        "sender_name": prepared.sender_name,
        "sender_address": prepared.sender_address,
        "reply_to": prepared.reply_to,
        "subject": letter.subject.source,
        "markdown": draft.markdown,
        "text": letter.text.source,
        "html": letter.html.source if letter.html else None,
        "size": letter.size + sum(row.size for row in attached),
        "send_at": draft.send_at,
        "undo_until": undo_until,
        "expires_at": due_at + timedelta(hours=settings.expire_hours),
        "done_at": None,
        "state": State.pending,
        "planned": planned,
        "pending": planned,
    }
    used = sorted(letter.fields)
    deliveries = [_delivery_row(message, recipient, used, due_at) for recipient in prepared.recipients]
    secrets = _take_out_secrets(settings, deliveries) if any(name.startswith(SECRET) for name in used) else []
    audit = audit_row(principal, "message.sent", message_id, letter.subject.source, {"to": planned}) | {
        "id": message_id
    }
    return Plan(message, deliveries, secrets, attached, new_files, audit)


def _take_out_secrets(settings: CrmSettings, deliveries: Sequence[Row]) -> list[Row]:
    seal = seal_of(settings)
    rows = []
    for delivery in deliveries:
        delivery["fields"], secret = secret_fields.take_out(delivery["fields"])
        if secret:
            rows.append(secret_fields.close(seal, delivery["id"], secret))
    return rows


def _delivery_row(message: Row, recipient: Recipient, used: Sequence[str], due_at: datetime) -> Row:
    return _nothing_yet | {
        "id": new_id(),
        "message_id": message["id"],
        "customer_id": recipient.customer_id,
        "address": recipient.address,
        "name": recipient.name,
        "fields": {name: value for name in used if (value := recipient.values.get(name))},
        "lane": message["lane"],
        "state": State.pending,
        "generation": 1,
        "attempt": 0,
        "created_at": message["created_at"],
        "due_at": due_at,
        "expires_at": message["expires_at"],
    }


def hold_back(hot: Hot, plans: Sequence[Plan]) -> None:
    """What goes to addresses that take no mail is suppressed, in the plans."""
    keys = [address_key(row["address"]) for one in plans for row in one.deliveries]
    reasons = dict(hot.select("SELECT address, reason FROM suppression WHERE address IN {}", keys))
    for one in plans if reasons else ():
        _hold_back(one, reasons)


def _hold_back(one: Plan, reasons: Mapping[str, str]) -> None:
    at = one.message["created_at"]
    held = [row for row in one.deliveries if address_key(row["address"]) in reasons]
    for row in held:
        row.update(state=State.suppressed, done_at=at, reason=reasons[address_key(row["address"])])
    one.message.update(suppressed=len(held), pending=one.message["planned"] - len(held))
    gone = {row["id"] for row in held}
    one.secrets[:] = [row for row in one.secrets if row["delivery_id"] not in gone]
    if not one.message["pending"]:
        one.message.update(state=State.suppressed, done_at=at)


def store(hot: Hot, plans: Sequence[Plan]) -> None:
    """The messages, each with one delivery per recipient."""
    written = {
        row["customer_id"]: one.message["created_at"] for one in plans for row in one.deliveries if row["customer_id"]
    }
    hot.insert(_file, [row.model_dump() for one in plans for row in one.files], unless_there=True)
    hot.insert(_message, [one.message for one in plans])
    hot.insert(_attachment, [row.model_dump() for one in plans for row in one.attachments])
    hot.insert(_delivery, [row for one in plans for row in one.deliveries])
    if secrets := [row for one in plans for row in one.secrets]:
        hot.insert(_secret, secrets)
    hot.insert(_words, [row for one in plans for row in one.words])
    hot.insert(_audit, [one.audit for one in plans])
    hot.update(_customer, [{"id": customer, "written_at": written[customer]} for customer in sorted(written)])
    hot.announce(["outbox", "messages", "system", *(f"customer:{customer}" for customer in written)])
