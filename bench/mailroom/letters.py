"""The letter that everybody sends, filled in for each recipient beforehand: peers get finished texts.

Posthaste gets the letter with its fields open, as it does in production, and fills them itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.plant import new_delivery, new_message
from crm_api.messages.models import Message
from shared.contracts import Mailbox, SendCommand
from shared.fields import Template
from shared.html_fields import HtmlTemplate
from shared.lanes import Lane


def letters(first: int, count: int) -> Iterator[dict[str, str]]:
    """to, name, subject, text and html of each, numbered from `first`; every number has an address of its own."""
    message = new_message(count, Lane.bulk)
    subject, text, page = Template(message.subject), Template(message.text), HtmlTemplate(message.html or "")
    for number in range(first, first + count):
        row = new_delivery(message, number)
        fields = _fields(row)
        yield {
            "to": str(row["address"]),
            "name": str(row["name"]),
            "subject": subject.fill(fields),
            "text": text.fill(fields),
            "html": page.fill(fields),
        }


def commands(count: int) -> Iterator[SendCommand]:
    """One message to `count` people, as the relay publishes it; see crm_api.outbox.store."""
    message = new_message(count, Lane.bulk)
    for number in range(count):
        yield _command(message, new_delivery(message, number))


def _command(message: Message, row: dict[str, object]) -> SendCommand:
    return SendCommand(
        delivery=row["id"],  # type: ignore[arg-type]
        generation=1,
        lane=Lane.bulk,
        to=Mailbox(str(row["address"]), str(row["name"])),
        sender=Mailbox(message.sender_address, message.sender_name),
        subject=message.subject,
        text=message.text,
        html=message.html,
        fields=_fields(row),
        message_id=f"<{row['id']}.1@{message.sender_address.partition('@')[2]}>",
        created_at=message.created_at,
        expires_at=message.expires_at,
        message=message.id,
    )


def _fields(row: dict[str, object]) -> dict[str, str]:
    fields = row["fields"]
    assert isinstance(fields, dict)
    return fields
