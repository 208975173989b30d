"""Shapes of /api/v1/audit."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class AuditOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    action: str
    actor_id: UUID | None
    actor: str = Field(description="as named then")
    via: str = Field(description="page, api or command")
    key: str = Field(description="name of the API key, or empty")
    address: str = Field(description="where the request came from")
    object_id: str
    object_name: str = Field(description="as named then")
    data: dict[str, object]
