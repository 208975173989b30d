"""The verbs of API keys."""

import math
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
from crm_api.errors import Conflict, FieldProblem, Invalid, NotFound, NotSignedIn
from crm_api.paging import make_cursor, read_cursor
from shared.clock import now

MAX_NAME = 100
MAX_DAYS = 3650

Condition = Literal["active", "expired", "revoked"]


def condition(key: ApiKey) -> Condition:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now() else "active"


def get(session: Session, by: Principal, key_id: UUID, lock: bool = False) -> ApiKey:
    """A key knows the keys of its user and no others."""
    key = session.get(ApiKey, key_id, with_for_update=lock)
    if key is None or (by.via == "api" and key.user_id != by.user_id):
        raise NotFound("There is no such key.")
    return key


def list_page(
    session: Session, by: Principal, cursor: str | None = None, limit: int = 50
) -> tuple[list[tuple[ApiKey, User]], str | None]:
    """Newest first, each with the user it acts for; to a key only those of its own user."""
    rows = select(ApiKey, User).where(ApiKey.user_id == User.id).order_by(col(ApiKey.id).desc()).limit(limit + 1)
    if by.via == "api":
        rows = rows.where(ApiKey.user_id == by.user_id)
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

    A key that was made with a key acts for the same user, can do no more than that one, and ends with it. Raises
    Invalid that names every wrong field.
    """
    parent = _parent(session, by)
    problems: list[FieldProblem] = []
    cleaned = " ".join(name.replace("\0", "").split())
    if not 1 <= len(cleaned) <= MAX_NAME:
        problems.append(FieldProblem("name", f"A name has 1 to {MAX_NAME} characters, like: web shop."))
    user = session.get(User, user_id)
    if user is None or user.disabled_at:
        problems.append(FieldProblem("user_id", "There is no such user, or they are disabled."))
    elif parent and user.id != parent.user_id:
        problems.append(FieldProblem("user_id", "A key makes keys only for the user that it acts for itself."))
    expires_at = _end(days, parent, problems)
    problems += _check_scopes(by, scopes, user)
    if problems or user is None:
        raise Invalid(problems[0].message, *problems)
    secret = make_key()
    key = ApiKey(
        name=cleaned,
        prefix=prefix_of(secret),
        key_hash=hash_of(secret),
        user_id=user.id,
        expires_at=expires_at,
        made_with=parent.id if parent else None,
        scope=None if scopes is None else sorted(set(scopes)),
    )
    session.add(key)
    session.flush()
    told = {"for": user.email, "scopes": key.scope or "all", "until": _said(key.expires_at)}
    record(session, by, "key.made", key.id, key.name, prefix=key.prefix, **told)
    return key, secret


def _parent(session: Session, by: Principal) -> ApiKey | None:
    """The key with which another is made, locked: it cannot be revoked meanwhile and leave a child behind."""
    if by.via != "api":
        return None
    parent = session.get(ApiKey, by.key_id, with_for_update=True) if by.key_id else None
    if parent is None or condition(parent) != "active":
        raise NotSignedIn("This API key is none, or it was revoked.")
    return parent


def _end(days: int | None, parent: ApiKey | None, problems: list[FieldProblem]) -> datetime | None:
    """When it ends by itself: never after the key that it was made with."""
    if days is not None and not 1 <= days <= MAX_DAYS:
        problems.append(FieldProblem("days", f"A key ends after 1 to {MAX_DAYS:,} days, or never."))
        return None
    end = now() + timedelta(days=days) if days else None
    latest = parent.expires_at if parent else None
    if latest is None:
        return end
    left = math.ceil((latest - now()) / timedelta(days=1))
    if days is None or days > left:
        what = f"The key that makes it ends in {left} days or less, and this one not later: give 1 to {left}."
        problems.append(FieldProblem("days", what))
    return min(end or latest, latest)


def _check_scopes(by: Principal, scopes: Sequence[str] | None, user: User | None) -> list[FieldProblem]:
    if scopes is None:
        return [] if by.scopes is None else [FieldProblem("scopes", "This key cannot make one that may do everything.")]
    if not scopes:
        return [FieldProblem("scopes", "Choose at least one thing that the key may do.")]
    if unknown := sorted(set(scopes) - set(SCOPES)):
        return [FieldProblem("scopes", f"There is no scope {', '.join(unknown)}. Take of: {', '.join(SCOPES)}.")]
    own = granted(by.role, by.via == "api", by.scopes)
    if beyond := sorted(set(scopes) - own):
        return [FieldProblem("scopes", f"You may not give away what you may not do yourself: {', '.join(beyond)}.")]
    if user and (beyond := sorted(set(scopes) - granted(user.role, True))):
        return [FieldProblem("scopes", f"{user.name} ({user.role}) may not do that: {', '.join(beyond)}.")]
    return []


def _said(value: datetime | None) -> str:
    return value.date().isoformat() if value else "never"


def revoke(session: Session, by: Principal, key_id: UUID) -> ApiKey:
    """It opens nothing from this commit on, nor does any key that was made with it."""
    key = get(session, by, key_id, lock=True)
    if key.revoked_at:
        raise Conflict(f"The key {key.name} is revoked already.")
    for each in [key, *_made_with(session, key.id)]:
        each.revoked_at = now()
        more = {} if each is key else {"made_with": key.name}
        record(session, by, "key.revoked", each.id, each.name, prefix=each.prefix, **more)
    access.changed(session, key.user_id)
    return key


def _made_with(session: Session, key_id: UUID) -> list[ApiKey]:
    """Those that are not revoked yet, and those made with them in turn."""
    found: list[ApiKey] = []
    parents: Sequence[UUID] = [key_id]
    while parents:
        rows = select(ApiKey).where(col(ApiKey.made_with).in_(parents)).with_for_update()
        made = list(session.exec(rows))
        found += [row for row in made if row.revoked_at is None]
        parents = [row.id for row in made]
    return found
