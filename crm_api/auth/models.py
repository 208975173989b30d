"""Users, their sessions, links that are mailed to them, recovery codes, and API keys.

Secrets are stored as hashes only, but for the second factor's: codes are made from it, so it is sealed.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from crm_api.auth.roles import Scopes
from crm_api.db import UtcDateTime
from shared.clock import now
from shared.ids import new_id

NO_PASSWORD = ""  # invited, and has not come yet: nothing typed fits it
ELSEWHERE = "elsewhere"  # signs in at the OpenID provider, and has no password here: nothing typed fits it


class User(SQLModel, table=True):
    __tablename__ = "crm_user"  # user is a reserved word in PostgreSQL

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email: str = Field(unique=True)
    name: str
    role: str = "agent"
    password_hash: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    totp_secret: str | None = Field(default=None, description="sealed; asked for at sign-in once totp_since is set")
    totp_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    totp_step: int = Field(
        default=0,
        sa_column_kwargs={"server_default": "0"},
        description="time step of the newest code that was taken; none is taken twice",
    )

    @property
    def invited(self) -> bool:
        """Has not come yet: neither chosen a password nor signed in at the OpenID provider."""
        return self.password_hash == NO_PASSWORD

    @property
    def has_password(self) -> bool:
        return self.password_hash not in (NO_PASSWORD, ELSEWHERE)

    @property
    def second_factor(self) -> bool:
        return self.totp_since is not None


class SignIn(SQLModel, table=True):
    """A browser that is signed in. token_hash: SHA-256 of the cookie's 256 random bits."""

    __tablename__ = "sign_in"

    token_hash: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="crm_user.id", index=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    seen_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    address: str | None = Field(default=None, description="where it signed in from")
    browser: str | None = Field(default=None, description="how it named itself then")

    @property
    def handle(self) -> str:
        """Names it on a page, and opens nothing."""
        return self.token_hash[:32]


class OneTimeLink(SQLModel, table=True):
    """What proves once, and not for long, that somebody reads this user's mail, or that the first step was right.

    kind: invite, reset, code (the step between password and second factor), or openid (the same after the provider).
    """

    __tablename__ = "one_time_link"

    token_hash: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="crm_user.id", index=True)
    kind: str
    address: str = Field(description="the account's when it was made: an account that has another now has no such link")
    delivery_id: UUID | None = Field(
        default=None, foreign_key="delivery.id", index=True, description="the letter it is in"
    )
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class RecoveryCode(SQLModel, table=True):
    """Opens once, instead of a code of the second factor. code_hash: SHA-256 of 80 random bits."""

    __tablename__ = "recovery_code"

    code_hash: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="crm_user.id", index=True)


class ApiKey(SQLModel, table=True):
    """Acts for its user, at most as far as its scopes."""

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
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    made_with: UUID | None = Field(
        default=None, index=True, description="the key that it was made with; it ends when that one is revoked"
    )
    scope: list[str] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True)), description="verbs; null: all that its user may"
    )

    @property
    def scopes(self) -> Scopes | None:
        return None if self.scope is None else frozenset(self.scope)


class SignInTries(SQLModel, table=True):
    """Tries to sign in that did not (yet) succeed, by account, by address, and by both together."""

    __tablename__ = "sign_in_tries"

    key: str = Field(primary_key=True, description="SHA-256, so that nobody's mistyped password is kept")
    since: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)
    tries: int = 0
