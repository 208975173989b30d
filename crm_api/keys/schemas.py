"""Shapes of /api/v1/keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crm_api.auth.models import ApiKey
from crm_api.keys.service import MAX_DAYS, MAX_NAME, Condition, condition


class KeyIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "web shop", "scopes": ["messages.send"], "days": 365}]},
    )

    name: Annotated[str, Field(max_length=MAX_NAME)]
    scopes: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, max_length=100, description="verbs; null: all that its user may"
    )
    days: int | None = Field(None, ge=1, le=MAX_DAYS, description="until it ends by itself; null: never")
    user_id: UUID | None = Field(None, description="whom it acts for; default: who makes it")


class KeyOut(BaseModel):
    id: UUID
    name: str
    prefix: str = Field(description="its first characters")
    user_id: UUID
    scopes: list[str] | None
    state: Condition
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None = Field(description="right to the hour")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyOut":
        return cls.model_validate(key.model_dump() | {"scopes": key.scope, "state": condition(key)})


class NewKey(KeyOut):
    key: str = Field(description="shown this once, and nowhere kept")
