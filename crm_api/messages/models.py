"""Messages, their deliveries, and what became of each.

The delivery rows are the outbox: the relay publishes the pending ones. A message counts its deliveries by state in
the transaction that moves them, so nothing ever has to be counted.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from crm_api.db import ByteOrdered, UtcDateTime
from crm_api.messages.states import State
from shared.clock import now
from shared.ids import new_id

# all but those that went well: few, beside all that ever were. A query that wants the index ix_delivery_watched says
# this word for word, or SQLite reads the whole table
WATCHED = "state <> 'accepted'"


class Message(SQLModel, table=True):
    """subject, text and html are templates in the field language."""

    __table_args__ = (Index("ix_message_by_state", "state", "id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    clicked_at: datetime = Field(default_factory=now, sa_type=UtcDateTime, description="when the request came in")
    author_id: UUID | None = Field(default=None, foreign_key="crm_user.id")
    author: str = Field(description="who sent it, as named then")
    via: str = Field(description="page or api")
    lane: str
    sender_name: str
    sender_address: str
    reply_to: str | None = None
    subject: str
    markdown: str | None = Field(default=None, description="as written in the composer")
    text: str
    html: str | None = None
    size: int = Field(description="bytes of subject, text, HTML and attachments")
    send_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    undo_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    state: str = Field(default=State.pending, description="of the delivery that most needs a look")
    planned: int
    pending: int = 0
    queued: int = 0
    accepted: int = 0
    deferred: int = 0
    failed: int = 0
    unknown: int = 0
    suppressed: int = 0
    cancelled: int = 0
    discarded: int = 0
    bounced: int = 0


class MessageWord(SQLModel, table=True):
    """What a message is found by: folded words of its subject, and addresses in small letters.

    No foreign key: a mailing writes a million of these, and messages are kept for good.
    """

    __tablename__ = "message_word"
    __table_args__ = (Index("ix_message_word_found", "word", "message_id"), {"sqlite_with_rowid": False})

    message_id: UUID = Field(primary_key=True)
    word: str = Field(primary_key=True, sa_type=ByteOrdered)


class WaitingWords(SQLModel, table=True):
    """What new messages are found by, until dispatch files it into message_word: to write one row here is quicker
    than ten there, and a person waits. Each word or address stands after a line break."""

    __tablename__ = "message_words_waiting"
    __table_args__ = {"sqlite_with_rowid": False}

    message_id: UUID = Field(primary_key=True)
    part: int = Field(primary_key=True)
    words: str


class StoredFile(SQLModel, table=True):
    """A file that was uploaded; its bytes lie in the file store under the same hash."""

    __tablename__ = "stored_file"

    sha256: str = Field(primary_key=True)
    size: int
    content_type: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class MessageAttachment(SQLModel, table=True):
    __tablename__ = "message_attachment"

    message_id: UUID = Field(foreign_key="message.id", primary_key=True)
    position: int = Field(primary_key=True)
    sha256: str = Field(foreign_key="stored_file.sha256")
    filename: str
    content_type: str
    size: int


class Delivery(SQLModel, table=True):
    """One message to one recipient. fields: the recipient's values as they were when it was sent, without secrets."""

    __table_args__ = (
        Index(
            "ix_delivery_due",
            "lane",
            "due_at",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_delivery_watched",
            "state",
            "lane",
            "id",
            sqlite_where=text(WATCHED),
            postgresql_where=text(WATCHED),
        ),
        Index("ix_delivery_of_message", "message_id", "id"),
        Index("ix_delivery_of_customer", "customer_id", "id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    message_id: UUID = Field(foreign_key="message.id")
    customer_id: UUID | None = Field(default=None, foreign_key="customer.id")
    address: str
    name: str = ""
    fields: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    lane: str
    state: str = State.pending
    generation: int = Field(default=1, description="rises when a person sends it again")
    attempt: int = Field(default=0, description="newest attempt of this generation whose outcome is known")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime, description="the relay leaves it alone until then")
    expires_at: datetime = Field(sa_type=UtcDateTime)
    claimed_until: datetime | None = Field(
        default=None,
        sa_type=UtcDateTime,
        description="set while, or when perhaps, it is with the broker unconfirmed",
    )
    queued_at: datetime | None = Field(default=None, sa_type=UtcDateTime, description="confirmed by the broker")
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime, description="when it tries again by itself")
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = Field(default=None, description="of the newest outcome, for a person")
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    server: str | None = None
    queue_id: str | None = Field(default=None, description="as the server that took it names it")

    @property
    def next_try(self) -> datetime | None:
        """When it tries again by itself, for people. Once that has come, it waits for the mail room like any other."""
        return self.next_at if self.next_at and self.next_at > now() else None


class DeliverySecret(SQLModel, table=True):
    """What a delivery carries for its recipient alone, until it has come to an end; see secret_fields.py."""

    __tablename__ = "delivery_secret"

    delivery_id: UUID = Field(foreign_key="delivery.id", primary_key=True)
    sealed: str


class Attempt(SQLModel, table=True):
    """One try, from the mail room. kind is empty while it is going on."""

    delivery_id: UUID = Field(foreign_key="delivery.id", primary_key=True)
    generation: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    kind: str | None = None
    phase: str | None = None
    reason: str | None = None
    worker: str
    host: str
    route: str | None = None
    received_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    server: str | None = None
    queue_id: str | None = None
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    tls: str | None = None
    talk: list[dict[str, object]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False), description="lines {ms, who, text}"
    )


class DeliveryEntry(SQLModel, table=True):
    """What a person did with a delivery: cancelled, retried, discarded; or reconciliation: requeued, asked about,
    given_up, lost."""

    __tablename__ = "delivery_entry"
    __table_args__ = (Index("ix_delivery_entry_line", "delivery_id", "id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    delivery_id: UUID = Field(foreign_key="delivery.id")
    generation: int
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    kind: str
    by: str
    text: str = ""
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Suppression(SQLModel, table=True):
    """An address that takes no mail. Nothing is sent to it until a person sends a delivery again."""

    address: str = Field(primary_key=True, description="shared.addresses.address_key")
    since: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    reason: str
    delivery_id: UUID | None = Field(default=None, foreign_key="delivery.id")


class IdempotencyKey(SQLModel, table=True):
    """A POST that was answered once. Same key and body: the same answer."""

    __tablename__ = "idempotency_key"

    scope: str = Field(primary_key=True, description="whose key it is")
    key: str = Field(primary_key=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)
    request_hash: str
    message_id: UUID = Field(foreign_key="message.id")
    answer: str = Field(description="the JSON that was answered")
