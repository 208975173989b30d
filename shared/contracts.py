"""What travels over RabbitMQ: versioned JSON messages, checked when they are read.

The AMQP `type` property names the contract and its version. A new optional member keeps the version; anything
else is a new type, understood beside the old one until no queue holds the old.

Every member has bounds, and they are those of both databases: what `decode` takes can be stored.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta

from shared.alarms import MAX_ALARMS, Alarm
from shared.lanes import Lane


class BadContract(ValueError):
    """The body is no message of the type it claims to be."""


class OutcomeKind(StrEnum):
    accepted = "accepted"
    deferred = "deferred"
    failed = "failed"
    unknown = "unknown"


# PostgreSQL's integer has 32 bits; no delivery is tried or sent again so often
MAX_ORDINAL = 1_000_000
Ordinal = Annotated[int, Meta(ge=1, le=MAX_ORDINAL)]
Generation = Annotated[int, Meta(ge=0, le=MAX_ORDINAL)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # exact in every JSON reader
MAX_WORD = 100
Word = Annotated[str, Meta(max_length=MAX_WORD)]
Name = Annotated[str, Meta(max_length=300)]  # of a host, a server, a worker
# the door takes 1000 characters of one, and NFC may make three of each (U+FB2C, and much of Hebrew and music)
Line = Annotated[str, Meta(max_length=3000)]
Text = Annotated[str, Meta(max_length=16 * 1024 * 1024)]  # a larger message no broker of today takes
MAX_ROOM = 100
WorkerNumber = Annotated[int, Meta(ge=1, le=1000)]
Instant = Annotated[datetime, Meta(tz=True)]

# UTC has no moment for the first and last of the years that a zone can name, and one year more or less is reckoned with
FIRST_YEAR, LAST_YEAR = 1970, 9998


def _check_years(*moments: datetime | None) -> None:
    for moment in moments:
        if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError(f"a time in the year {moment.year}")


class Mailbox(msgspec.Struct, frozen=True):
    address: Annotated[str, Meta(min_length=1, max_length=1000)]
    name: Line = ""


class Attachment(msgspec.Struct, frozen=True):
    """A file by reference: the mail room reads it from the file store and checks the hash."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # hex, lower case
    filename: Line
    content_type: Line
    size: Count  # bytes


class SendCommand(msgspec.Struct, frozen=True):
    """Send one delivery. subject, text and html are templates in the field language; `fields` fills them."""

    TYPE: ClassVar[str] = "mail.send.v1"

    delivery: UUID
    generation: Generation
    lane: Lane
    to: Mailbox
    sender: Mailbox
    subject: Line
    text: Text
    message_id: Line  # the Message-ID header with its angle brackets, the same on every attempt
    created_at: Instant
    expires_at: Instant  # no attempt starts after it
    message: UUID
    html: Text | None = None
    reply_to: Line | None = None
    fields: Annotated[dict[Word, Annotated[str, Meta(max_length=100_000)]], Meta(max_length=2000)] = {}
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=1000)] = ()

    def __post_init__(self) -> None:
        _check_years(self.created_at, self.expires_at)

    @property
    def key(self) -> str:
        return delivery_key(self.delivery, self.generation)


class TalkLine(msgspec.Struct, frozen=True):
    """One line of an SMTP conversation: bodies left out, secrets masked."""

    ms: Count  # since the conversation began
    who: Word  # "us", "them" or "tls"
    text: Line


class Outcome(msgspec.Struct, frozen=True):
    """What one attempt came to. (delivery, generation, attempt) names the attempt; the same one may come twice."""

    delivery: UUID
    generation: Generation
    attempt: Ordinal
    lane: Lane
    kind: OutcomeKind
    phase: Word  # compose, connect, greeting, ehlo, tls, auth, mail, rcpt, data, dot, expired, ledger
    reason: Line  # one sentence for a person
    worker: Name  # "north/3"
    host: Name
    received_at: Instant
    finished_at: Instant
    route: Name = "default"
    started_at: Instant | None = None  # when the SMTP transaction began
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    enhanced: Word | None = None  # RFC 3463, "5.1.1"
    reply: Line | None = None  # the server's words
    server: Name | None = None  # host:port
    queue_id: Line | None = None  # as the server named it
    next_at: Instant | None = None  # when it tries again by itself
    suppress: bool = False  # the address itself is no good
    tls: Name | None = None
    talk: Annotated[tuple[TalkLine, ...], Meta(max_length=1000)] = ()

    def __post_init__(self) -> None:
        _check_years(self.received_at, self.finished_at, self.started_at, self.next_at)


class OutcomeBatch(msgspec.Struct, frozen=True):
    TYPE: ClassVar[str] = "mail.outcomes.v1"

    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=1000)]


class AttemptStarted(msgspec.Struct, frozen=True):
    """Sent when a conversation takes longer than a moment, so that its page can say who is at it."""

    TYPE: ClassVar[str] = "mail.started.v1"

    delivery: UUID
    generation: Generation
    attempt: Ordinal
    worker: Name
    host: Name
    received_at: Instant

    def __post_init__(self) -> None:
        _check_years(self.received_at)


class Heartbeat(msgspec.Struct, frozen=True):
    """One worker of a mail room, every few seconds, over mail.ctl."""

    TYPE: ClassVar[str] = "mail.heartbeat.v1"

    room: Annotated[str, Meta(min_length=1, max_length=MAX_ROOM)]
    worker: WorkerNumber
    workers: WorkerNumber  # how many this mail room should have
    host: Name
    pid: Count
    at: Instant
    started_at: Instant
    in_flight: Count
    accepted: Count
    deferred: Count
    failed: Count
    unknown: Count
    route_state: Line = "open"  # open, or paused with a reason after a colon
    stopping: bool = False
    # lane queue → deliveries in hand; they add up to in_flight
    held: Annotated[dict[Word, Count], Meta(max_length=20)] = {}
    alarms: Annotated[tuple[Alarm, ...], Meta(max_length=MAX_ALARMS)] = ()

    def __post_init__(self) -> None:
        _check_years(self.at, self.started_at, *(alarm.since for alarm in self.alarms))


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
    message: Contract = _read(decoder, kind, body)
    return message


def _parse(decoder: Any, kind: str | None, body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as problem:  # MsgspecError is a ValueError; so is broken UTF-8
        raise BadContract(f"{kind}: {problem}") from problem


def _read(decoder: Any, kind: str | None, body: bytes) -> Any:
    message = _parse(decoder, kind, body)
    # the one character that JSON has and PostgreSQL has not; to look at each text would cost more than to read it
    if b"\\u0000" in body and _has_nul(msgspec.to_builtins(message)):
        raise BadContract(f"{kind}: a text with a NUL in it")
    return message


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(each) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def decode_outcomes(body: bytes) -> tuple[list[Outcome], list[str]]:
    """Of a batch that `decode` refused: the outcomes that are right, and of each other one what is wrong with it.

    Raises BadContract if it is no batch at all.
    """
    right: list[Outcome] = []
    wrong: list[str] = []
    for raw in _parse(_raw_batch, OutcomeBatch.TYPE, body).outcomes:
        try:
            right.append(_read(_outcome, OutcomeBatch.TYPE, bytes(raw)))
        except BadContract as problem:
            wrong.append(str(problem))
    return right, wrong


def fitted(outcome: Outcome) -> Outcome:
    """The same if it is within the contract's bounds, as it should be: it holds a foreign server's words. Else what of
    it is: whatever came of a delivery must be told."""
    try:
        _read(_outcome, OutcomeBatch.TYPE, _encoder.encode(outcome))
    except ValueError:
        texts = {name: value for name in outcome.__struct_fields__ if isinstance(value := getattr(outcome, name), str)}
        kept = {name: storable(value)[:MAX_WORD] for name, value in texts.items() if name not in ("lane", "kind")}
        code = outcome.code if outcome.code is not None and 0 <= outcome.code <= 999 else None
        return msgspec.structs.replace(outcome, **kept, code=code, talk=())
    return outcome


def storable(text: str) -> str:
    """As any database takes it: no NUL, no half characters."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


class _RawBatch(msgspec.Struct):
    outcomes: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=1000)]


_raw_batch = msgspec.json.Decoder(_RawBatch)
_outcome = msgspec.json.Decoder(Outcome)


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
