"""Shapes of messages and deliveries, as the API and the composer know them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from crm_api.limits import (
    MAX_ADDRESS,
    MAX_BODY_CHARACTERS,
    MAX_FILE_BYTES,
    MAX_FILENAME,
    MAX_FILES,
    MAX_RECIPIENTS,
)
from crm_api.messages.states import State
from crm_api.moments import Moment
from shared.lanes import Lane

Line = Annotated[str, StringConstraints(max_length=998)]  # RFC 5322, section 2.1.1
MailboxText = Annotated[str, StringConstraints(max_length=1000)]  # an address, perhaps with a name before it
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
FieldValue = Annotated[str, StringConstraints(max_length=20_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Body = Annotated[str, StringConstraints(max_length=MAX_BODY_CHARACTERS)]


class Draft(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecipientDraft(Draft):
    """Exactly one of customer_id, contact_id and email."""

    customer_id: UUID | None = None
    contact_id: UUID | None = None
    email: MailboxText | None = Field(None, description="an address, or a name and an address: Ida <ida@example.com>")
    name: Line = Field("", description="shown beside a bare address")
    fields: dict[FieldName, FieldValue] = Field(
        default_factory=dict, max_length=100, description="values for this recipient only"
    )


class AttachmentDraft(Draft):
    """A stored file by its hash, or the content itself in base64 (then a hash, if given, is checked)."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILENAME)]
    sha256: Sha256 | None = None
    content: str | None = Field(None, max_length=4 * (MAX_FILE_BYTES // 3 + 1), description="base64")
    content_type: Line | None = None


class SenderDraft(Draft):
    address: MailboxText
    name: Line = Field("", description="default: the one that stands before the address, if one does")


class MessageDraft(Draft):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "to": [{"email": "ada@example.com", "fields": {"first_name": "Ada"}}],
                    "subject": "Your saplings leave on Thursday",
                    "markdown": 'Dear {{ first_name }},\n\nthey reach {{ company | default("you") }} on **Friday**.',
                    "lane": "urgent",
                }
            ]
        },
    )

    to: list[RecipientDraft] = Field(min_length=1, max_length=MAX_RECIPIENTS)
    subject: Line
    markdown: Body | None = Field(None, description="both parts are made from it; not beside text or html")
    text: Body | None = Field(None, description="plain text, needed if there is no markdown")
    html: Body | None = None
    sender: SenderDraft | None = Field(None, description="default: the sender from the settings")
    reply_to: MailboxText | None = Field(None, description='with a name if you like: "Support" <help@example.com>')
    attachments: list[AttachmentDraft] = Field(default_factory=list, max_length=MAX_FILES)
    send_at: Moment | None = Field(None, description="with a time zone; nothing leaves before it")
    undo_seconds: int = Field(0, ge=0, le=300, description="for so long it can still be cancelled")
    lane: Lane = Lane.urgent


class Counts(BaseModel):
    """Deliveries by state; they add up to `planned`."""

    planned: int
    pending: int
    queued: int
    accepted: int
    deferred: int
    failed: int
    unknown: int
    suppressed: int
    cancelled: int
    discarded: int
    bounced: int


class DeliveryOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    message_id: UUID
    customer_id: UUID | None
    address: str
    name: str
    lane: Lane
    state: State
    generation: int
    attempt: int
    due_at: datetime
    queued_at: datetime | None
    waits: str | None = Field(
        None,
        description="what keeps it from going on now and is not its own, like a mail server that refuses us; "
        "not looked for in the answer that takes a message in",
    )
    next_at: datetime | None = Field(description="when it tries again by itself")
    done_at: datetime | None
    reason: str | None = Field(description="of the newest outcome, for a person")
    code: int | None = Field(description="SMTP reply code")
    enhanced: str | None = Field(description="RFC 3463")
    reply: str | None
    server: str | None
    queue_id: str | None = Field(description="as the server that took it names it")


class StepOut(BaseModel):
    """One line of a delivery's time line. ahead: still to come."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    kind: str
    title: str
    detail: str
    state: State | None
    ahead: bool
    talk: list[dict[str, Any]]


class DeliveryDetail(DeliveryOut):
    timeline: list[StepOut]


class AttachmentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    filename: str
    sha256: str
    content_type: str
    size: int


class MessageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    state: State = Field(description="of the delivery that most needs a look")
    lane: Lane
    subject: str
    author: str
    via: str
    sender_name: str
    sender_address: str
    reply_to: str | None
    created_at: datetime
    send_at: datetime | None
    undo_until: datetime | None
    expires_at: datetime
    done_at: datetime | None = Field(description="when the last delivery was done; null while one is open")
    counts: Counts


class MessageDetail(MessageOut):
    text: str
    html: str | None
    attachments: list[AttachmentOut]
    deliveries: list[DeliveryOut] = Field(description="the first 1,000; more at /api/v1/deliveries?message_id=")


class FileOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    sha256: str
    size: int = Field(description="bytes")
    content_type: str


class RetryDraft(Draft):
    address: Annotated[str, Field(max_length=MAX_ADDRESS)] | None = Field(None, description="send it there instead")
