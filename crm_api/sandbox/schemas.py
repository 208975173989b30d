"""Mails of the sandbox, as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from crm_api.sandbox.mail import ReadMail

_EXAMPLE: JsonDict = {
    "id": 17,
    "received_at": "2026-11-24T14:02:11.302Z",
    "envelope_from": "crm@posthaste.example",
    "envelope_to": ["marta@lindqvist-tradgard.example"],
    "from": "Posthaste <crm@posthaste.example>",
    "to": "Marta Lindqvist <marta@lindqvist-tradgard.example>",
    "subject": "Your saplings leave on Thursday",
    "message_id": "<0193…@posthaste.example>",
    "size": 4211,
}


class MailSummary(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE}, populate_by_name=True)

    id: int
    received_at: datetime
    envelope_from: str
    envelope_to: list[str]
    sender: str = Field(alias="from", description="the From header, decoded")
    to: str = Field(description="the To header, decoded")
    subject: str
    message_id: str
    size: int = Field(description="bytes")

    @classmethod
    def of(cls, mail: ReadMail) -> "MailSummary":
        return cls(**_summary(mail))


class Header(BaseModel):
    name: str
    value: str


class File(BaseModel):
    filename: str
    content_type: str
    size: int
    sha256: str


class MailOut(MailSummary):
    headers: list[Header]
    text: str | None
    html: str | None
    attachments: list[File]

    @classmethod
    def of(cls, mail: ReadMail) -> "MailOut":
        return cls(
            **_summary(mail),
            headers=[Header(name=name, value=value) for name, value in mail.headers],
            text=mail.text,
            html=mail.html,
            attachments=[
                File(filename=file.filename, content_type=file.content_type, size=file.size, sha256=file.sha256)
                for file in mail.files
            ],
        )


class Cleared(BaseModel):
    deleted: int


def _summary(mail: ReadMail) -> dict[str, object]:
    stored = mail.stored
    return {
        "id": stored.id,
        "received_at": stored.received_at,
        "envelope_from": stored.sender,
        "envelope_to": stored.recipients,
        "sender": mail.sender,
        "to": mail.to,
        "subject": mail.subject,
        "message_id": mail.header("Message-ID"),
        "size": stored.size,
    }
