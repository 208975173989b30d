"""Messages over AMQP: they come back as they went, and anything else is refused."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from shared.contracts import Attachment, BadContract, Mailbox, SendCommand, decode, delivery_key, encode, split_key
from shared.lanes import Lane

AT = datetime(2026, 11, 21, 14, 2, 11, 318000, UTC)
DELIVERY = UUID("01a1fbb9-dc7f-7b58-8f5b-953c220da787")
COMMAND = SendCommand(
    delivery=DELIVERY,
    generation=2,
    lane=Lane.urgent,
    to=Mailbox("ada@example.com", "Ada"),
    sender=Mailbox("ida@holt.example"),
    subject="Für {{ first_name }}",
    text="…",
    message_id="<x@holt.example>",
    created_at=AT,
    expires_at=AT,
    message=DELIVERY,
    fields={"first_name": "Ada"},
    attachments=(Attachment("0" * 64, "a.pdf", "application/pdf", 3),),
)


def test_a_command_survives_the_way() -> None:
    assert decode(SendCommand.TYPE, encode(COMMAND)) == COMMAND
    assert COMMAND.key == f"{DELIVERY}.2"
    assert split_key(COMMAND.key) == (DELIVERY, 2)


def test_a_member_that_a_newer_version_added_does_no_harm() -> None:
    body = msgspec.json.decode(encode(COMMAND)) | {"colour": "blue"}
    assert decode(SendCommand.TYPE, msgspec.json.encode(body)) == COMMAND


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("mail.send.v9", encode(COMMAND)),
        (None, encode(COMMAND)),
        (SendCommand.TYPE, b"{"),
        (SendCommand.TYPE, b"[]"),
        (SendCommand.TYPE, b"{}"),
        (SendCommand.TYPE, encode(COMMAND).replace(b'"urgent"', b'"express"')),
        (SendCommand.TYPE, encode(COMMAND).replace(str(DELIVERY).encode(), b"x")),
        (SendCommand.TYPE, b"\xff\xfe"),
    ],
)
def test_anything_else_is_refused(kind: str | None, body: bytes) -> None:
    with pytest.raises(BadContract):
        decode(kind, body)


@pytest.mark.parametrize("key", ["", "x.1", str(DELIVERY), f"{DELIVERY}.x"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadContract):
        split_key(key)


def test_a_key_is_made_of_delivery_and_generation() -> None:
    assert delivery_key(DELIVERY, 7) == f"{DELIVERY}.7"
