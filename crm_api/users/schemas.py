"""Shapes of /api/v1/users and /api/v1/me."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crm_api.auth.models import User
from crm_api.auth.roles import Role
from crm_api.limits import MAX_ADDRESS
from crm_api.users.service import MAX_NAME, Condition, condition


class UserIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(max_length=MAX_ADDRESS)]
    name: Annotated[str, Field(max_length=MAX_NAME)]
    role: Role = Role.agent


class UserPatch(BaseModel):
    """Only what is given changes; null is not given."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    role: Role | None = None


class UserOut(BaseModel):
    id: UUID
    email: str
    name: str
    role: str
    state: Condition = Field(description="invited: has not chosen a password yet")
    second_factor: bool
    created_at: datetime
    seen_at: datetime | None = Field(description="where they are signed in; right to the hour")

    @classmethod
    def of(cls, user: User, seen_at: datetime | None = None) -> "UserOut":
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            state=condition(user),
            second_factor=user.second_factor,
            created_at=user.created_at,
            seen_at=seen_at,
        )


class Me(BaseModel):
    user_id: UUID
    name: str
    email: str
    role: str
    key: str | None = Field(description="the API key's name")
    may: list[str] = Field(description="verbs of the table of roles")
