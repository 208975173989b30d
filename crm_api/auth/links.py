"""Links and steps that prove something once and not for long. Only hashes are stored; using one deletes it."""

import secrets
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlmodel import Session, col, delete, select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import OneTimeLink, User
from crm_api.messages.models import Delivery
from shared.addresses import address_key
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
    link = OneTimeLink(
        token_hash=hash_of(token), user_id=user.id, kind=kind, address=user.email, expires_at=at + LIFE[kind]
    )
    session.add(link)
    return token


def put_in_letter(session: Session, token: str, delivery_id: UUID) -> None:
    """The link is none any more once this delivery has failed, or goes to anybody else."""
    session.get_one(OneTimeLink, hash_of(token)).delivery_id = delivery_id


def look(session: Session, token: str, *kinds: Kind) -> tuple[User, Kind] | None:
    """Whose it is, and what for. It stays: programs that read mail open links before people do."""
    found = session.exec(
        select(OneTimeLink, User, Delivery.address)
        .join(User, col(OneTimeLink.user_id) == User.id)
        .outerjoin(Delivery, col(OneTimeLink.delivery_id) == Delivery.id)
        .where(OneTimeLink.token_hash == hash_of(token), col(OneTimeLink.kind).in_(kinds))
        .where(col(OneTimeLink.expires_at) > now(), col(User.disabled_at).is_(None))
    ).one_or_none()
    if found is None:
        return None
    link, user, went_to = found
    # it proves that somebody reads mail at the account's address, and at no other
    here = address_key(user.email)
    if address_key(link.address) != here or (went_to is not None and address_key(went_to) != here):
        return None
    return user, link.kind  # type: ignore[return-value]


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
