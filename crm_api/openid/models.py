"""By what the OpenID provider knows somebody."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now


class OpenIdLink(SQLModel, table=True):
    """Issuer and subject together are somebody for ever; their address is not (OpenID Connect Core 1.0, 5.7)."""

    __tablename__ = "openid_link"
    __table_args__ = (UniqueConstraint("user_id", "issuer"),)

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="crm_user.id")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    used_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
