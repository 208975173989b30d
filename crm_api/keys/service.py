"""The verbs of API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlmodel import Session, col, select

from crm_api.audit.record import record
from crm_api.auth import access
from crm_api.auth.hashing import hash_of
from crm_api.auth.keys import make_key, prefix_of
from crm_api.auth.models import ApiKey, User
from crm_api.auth.principal import Principal
from crm_api.auth.roles import SCOPES, granted
from crm_api.errors import Conflict, FieldProblem, Invalid, NotFound
from crm_api.paging import make_cursor, read_cursor
from shared.clock import now

MAX_NAME = 100
MAX_DAYS = 3650

Condition = Literal["active", "expired", "revoked"]


def condition(key: ApiKey) -> Condition:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now() else "active"


def get(session: Session, key_id: UUID) -> ApiKey:
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound("There is no such key.")
    return key


def list_page(
    session: Session, cursor: str | None = None, limit: int = 50
) -> tuple[list[tuple[ApiKey, User]], str | None]:
    """Newest first, each with the user it acts for."""
    rows = select(ApiKey, User).where(ApiKey.user_id == User.id).order_by(col(ApiKey.id).desc()).limit(limit + 1)
    if cursor:
        rows = rows.where(col(ApiKey.id) < read_cursor(cursor, UUID)[0])
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1][0].id) if len(found) > limit else None


def keys_of(session: Session, user_id: UUID) -> Sequence[ApiKey]:
    """Those of one user that are not revoked."""
    mine = select(ApiKey).where(ApiKey.user_id == user_id, col(ApiKey.revoked_at).is_(None))
    return session.exec(mine.order_by(col(ApiKey.id).desc()).limit(100)).all()


def make(
    session: Session, by: Principal, user_id: UUID, name: str, scopes: Sequence[str] | None, days: int | None
) -> tuple[ApiKey, str]:
    """The key's row, and the key itself, which is nowhere kept. scopes: None for all that its user may.

    A key that was made with a key can do no more than that one. Raises Invalid that names every wrong field.
    """
    problems: list[FieldProblem] = []
    cleaned = " ".join(name.replace("\0", "").split())
    if not 1 <= len(cleaned) <= MAX_NAME:
        problems.append(FieldProblem("name", f"A name has 1 to {MAX_NAME} characters, like: web shop."))
    user = session.get(User, user_id)
    if user is None or user.disabled_at:
        problems.append(FieldProblem("user_id", "There is no such user, or they are disabled."))
    if days is not None and not 1 <= days <= MAX_DAYS:
        problems.append(FieldProblem("days", f"A key ends after 1 to {MAX_DAYS:,} days, or never."))
    problems += _check_scopes(by, scopes)
    if problems or user is None:
        raise Invalid(problems[0].message, *problems)
    secret = make_key()
    key = ApiKey(
        name=cleaned,
        prefix=prefix_of(secret),
        key_hash=hash_of(secret),
        user_id=user.id,
        expires_at=now() + timedelta(days=days) if days else None,
        scope=None if scopes is None else sorted(set(scopes)),
    )
    session.add(key)
    session.flush()
    told = {"for": user.email, "scopes": key.scope or "all", "until": _said(key.expires_at)}
    record(session, by, "key.made", key.id, key.name, prefix=key.prefix, **told)
    return key, secret


def _check_scopes(by: Principal, scopes: Sequence[str] | None) -> list[FieldProblem]:
    if scopes is None:
        return [] if by.scopes is None else [FieldProblem("scopes", "This key cannot make one that may do everything.")]
    if not scopes:
        return [FieldProblem("scopes", "Choose at least one thing that the key may do.")]
    if unknown := sorted(set(scopes) - set(SCOPES)):
        return [FieldProblem("scopes", f"There is no scope {', '.join(unknown)}. Take of: {', '.join(SCOPES)}.")]
    own = granted(by.role, by.via == "api", by.scopes)
    if beyond := sorted(set(scopes) - own):
        return [FieldProblem("scopes", f"You may not give away what you may not do yourself: {', '.join(beyond)}.")]
    return []


def _said(value: datetime | None) -> str:
    return value.date().isoformat() if value else "never"


def revoke(session: Session, by: Principal, key_id: UUID) -> ApiKey:
    """It opens nothing from this commit on."""
    key = session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        raise NotFound("There is no such key.")
    if key.revoked_at:
        raise Conflict(f"The key {key.name} is revoked already.")
    key.revoked_at = now()
    access.changed(session, key.user_id)
    record(session, by, "key.revoked", key.id, key.name, prefix=key.prefix)
    return key
