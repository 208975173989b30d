"""Users, their sessions, and API keys. Secrets are stored as hashes only."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now
from shared.ids import new_id


class User(SQLModel, table=True):
    __tablename__ = "crm_user"  # user is a reserved word in PostgreSQL

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email: str = Field(unique=True)
    name: str
    role: str = "agent"
    password_hash: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignIn(SQLModel, table=True):
    """A browser that is signed in. token_hash: SHA-256 of the cookie's 256 random bits."""

    __tablename__ = "sign_in"

    token_hash: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="crm_user.id", index=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    seen_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    __tablename__ = "api_key"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str
    prefix: str = Field(description="the key's first characters, to recognise it by")
    key_hash: str = Field(unique=True, description="SHA-256 of the key")
    user_id: UUID = Field(foreign_key="crm_user.id")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    used_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="last use, within the hour: not written on each request"
    )
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignInTries(SQLModel, table=True):
    """Tries to sign in that did not (yet) succeed, by account, by address, and by both together."""

    __tablename__ = "sign_in_tries"

    key: str = Field(primary_key=True, description="SHA-256, so that nobody's mistyped password is kept")
    since: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)
    tries: int = 0
