"""What travels over RabbitMQ: versioned JSON messages, checked when they are read.

The AMQP `type` property names the contract and its version. A new optional member keeps the version; anything
else is a new type, understood beside the old one until no queue holds the old.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec

from shared.alarms import MAX_ALARMS, Alarm
from shared.lanes import Lane


class BadContract(ValueError):
    """The body is no message of the type it claims to be."""


class OutcomeKind(StrEnum):
    accepted = "accepted"
    deferred = "deferred"
    failed = "failed"
    unknown = "unknown"


class Mailbox(msgspec.Struct, frozen=True):
    address: str
    name: str = ""


class Attachment(msgspec.Struct, frozen=True):
    """A file by reference: the mail room reads it from the file store and checks the hash."""

    sha256: str  # hex, lower case
    filename: str
    content_type: str
    size: int  # bytes


class SendCommand(msgspec.Struct, frozen=True):
    """Send one delivery. subject, text and html are templates in the field language; `fields` fills them."""

    TYPE: ClassVar[str] = "mail.send.v1"

    delivery: UUID
    generation: int
    lane: Lane
    to: Mailbox
    sender: Mailbox
    subject: str
    text: str
    message_id: str  # the Message-ID header with its angle brackets, the same on every attempt
    created_at: datetime
    expires_at: datetime  # no attempt starts after it
    message: UUID
    html: str | None = None
    reply_to: str | None = None
    fields: dict[str, str] = {}
    attachments: tuple[Attachment, ...] = ()

    @property
    def key(self) -> str:
        return delivery_key(self.delivery, self.generation)


class TalkLine(msgspec.Struct, frozen=True):
    """One line of an SMTP conversation: bodies left out, secrets masked."""

    ms: int  # since the conversation began
    who: str  # "us", "them" or "tls"
    text: str


class Outcome(msgspec.Struct, frozen=True):
    """What one attempt came to. (delivery, generation, attempt) names the attempt; the same one may come twice."""

    delivery: UUID
    generation: int
    attempt: int  # from 1
    lane: Lane
    kind: OutcomeKind
    phase: str  # compose, connect, greeting, ehlo, tls, auth, mail, rcpt, data, dot, expired, ledger
    reason: str  # one sentence for a person
    worker: str  # "north/3"
    host: str
    received_at: datetime
    finished_at: datetime
    route: str = "default"
    started_at: datetime | None = None  # when the SMTP transaction began
    code: int | None = None
    enhanced: str | None = None  # RFC 3463, "5.1.1"
    reply: str | None = None  # the server's words
    server: str | None = None  # host:port
    queue_id: str | None = None  # as the server named it
    next_at: datetime | None = None  # when it tries again by itself
    suppress: bool = False  # the address itself is no good
    tls: str | None = None
    talk: tuple[TalkLine, ...] = ()


class OutcomeBatch(msgspec.Struct, frozen=True):
    TYPE: ClassVar[str] = "mail.outcomes.v1"

    outcomes: tuple[Outcome, ...]


class AttemptStarted(msgspec.Struct, frozen=True):
    """Sent when a conversation takes longer than a moment, so that its page can say who is at it."""

    TYPE: ClassVar[str] = "mail.started.v1"

    delivery: UUID
    generation: int
    attempt: int
    worker: str
    host: str
    received_at: datetime


class Heartbeat(msgspec.Struct, frozen=True):
    """One worker of a mail room, every few seconds, over mail.ctl."""

    TYPE: ClassVar[str] = "mail.heartbeat.v1"

    room: str
    worker: int  # from 1
    workers: int  # how many this mail room should have
    host: str
    pid: int
    at: datetime
    started_at: datetime
    in_flight: int
    accepted: int
    deferred: int
    failed: int
    unknown: int
    route_state: str = "open"  # open, or paused with a reason after a colon
    stopping: bool = False
    held: dict[str, int] = {}  # lane queue → deliveries in hand; they add up to in_flight
    alarms: Annotated[tuple[Alarm, ...], msgspec.Meta(max_length=MAX_ALARMS)] = ()


Contract = SendCommand | OutcomeBatch | AttemptStarted | Heartbeat
_BY_TYPE: dict[str, Any] = {
    kind.TYPE: msgspec.json.Decoder(kind) for kind in (SendCommand, OutcomeBatch, AttemptStarted, Heartbeat)
}
_encoder = msgspec.json.Encoder()


def encode(message: Contract) -> bytes:
    return _encoder.encode(message)


def decode(kind: str | None, body: bytes) -> Contract:
    """The message, by the AMQP `type` property; raises BadContract for an unknown type or a wrong body."""
    decoder = _BY_TYPE.get(kind or "")
    if decoder is None:
        raise BadContract(f"unknown message type {kind!r}")
    try:
        message: Contract = decoder.decode(body)
    except msgspec.MsgspecError as problem:
        raise BadContract(f"{kind}: {problem}") from problem
    return message


def delivery_key(delivery: UUID, generation: int) -> str:
    """The AMQP message_id of a command, and the ledger's key: `<delivery>.<generation>`."""
    return f"{delivery}.{generation}"


def split_key(key: str) -> tuple[UUID, int]:
    """The reverse of delivery_key; raises BadContract."""
    try:
        delivery, generation = key.rsplit(".", 1)
        return UUID(delivery), int(generation)
    except ValueError as problem:
        raise BadContract(f"no delivery key: {key!r}") from problem
