"""Shapes of /api/v1/senders."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crm_api.senders.models import AllowedSender
from crm_api.senders.service import MAX_NAME


class SenderIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"sender": "support@example.com", "name": "Support"}]}
    )

    sender: Annotated[str, Field(max_length=320)] = Field(
        description="an address, a domain (example.com), or all domains below one (*.example.com)"
    )
    name: Annotated[str, Field(max_length=MAX_NAME)] = Field("", description="what the composer puts before an address")


class SenderOut(BaseModel):
    id: UUID | None = Field(description="null: from the settings, while nothing else is listed")
    sender: str
    name: str
    created_at: datetime | None
    created_by: str

    @classmethod
    def of(cls, row: AllowedSender) -> "SenderOut":
        return cls(id=row.id, sender=row.written, name=row.name, created_at=row.created_at, created_by=row.created_by)


class Senders(BaseModel):
    default: str = Field(description="From, when a message names nobody; always allowed")
    items: list[SenderOut] = Field(description="who else may stand in From")
