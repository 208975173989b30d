"""Links and steps that prove something once and not for long. Only hashes are stored; using one deletes it."""

import secrets
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlmodel import Session, col, delete, select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import OneTimeLink, User
from shared.clock import now

Kind = Literal["invite", "reset", "code", "openid"]
LIFE: dict[Kind, timedelta] = {
    "invite": timedelta(days=3),
    "reset": timedelta(hours=1),
    "code": timedelta(minutes=10),
    "openid": timedelta(minutes=10),
}
STEPS: tuple[Kind, ...] = ("code", "openid")  # what came before the second factor
MAILED: tuple[Kind, ...] = ("invite", "reset")


def make(session: Session, user: User, kind: Kind) -> str:
    """A new one: 256 random bits. Earlier ones of this kind end; so do all that have expired."""
    at = now()
    forget(session, user.id, kind)
    session.execute(delete(OneTimeLink).where(col(OneTimeLink.expires_at) <= at))
    token = secrets.token_urlsafe(32)
    session.add(OneTimeLink(token_hash=hash_of(token), user_id=user.id, kind=kind, expires_at=at + LIFE[kind]))
    return token


def look(session: Session, token: str, *kinds: Kind) -> tuple[User, Kind] | None:
    """Whose it is, and what for. It stays: programs that read mail open links before people do."""
    found = session.exec(
        select(OneTimeLink, User)
        .where(OneTimeLink.user_id == User.id)
        .where(OneTimeLink.token_hash == hash_of(token), col(OneTimeLink.kind).in_(kinds))
        .where(col(OneTimeLink.expires_at) > now(), col(User.disabled_at).is_(None))
    ).one_or_none()
    return (found[1], found[0].kind) if found else None  # type: ignore[return-value]


def take(session: Session, token: str, *kinds: Kind) -> tuple[User, Kind] | None:
    """As `look`, and it is used up, even if two come at once."""
    found = look(session, token, *kinds)
    if found is None:
        return None
    gone = session.connection().execute(delete(OneTimeLink).where(col(OneTimeLink.token_hash) == hash_of(token)))
    return found if gone.rowcount else None


def forget(session: Session, user_id: UUID, *kinds: Kind) -> None:
    session.execute(
        delete(OneTimeLink).where(col(OneTimeLink.user_id) == user_id, col(OneTimeLink.kind).in_(kinds or tuple(LIFE)))
    )
