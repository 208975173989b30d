"""API keys: making one, and knowing whose it is. Only hashes are stored. Lists and pages: crm_api.keys."""

import secrets

from sqlmodel import Session, col, or_, select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import ApiKey, User
from crm_api.auth.principal import Principal
from crm_api.auth.service import SEEN_EVERY
from crm_api.db import Database
from shared.clock import now

KEY_PREFIX = "ph_"
_PREFIX_CHARACTERS = 10


def make_key() -> str:
    """A new API key: 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def prefix_of(key: str) -> str:
    """What it may be recognised by, and not guessed from."""
    return key[: min(_PREFIX_CHARACTERS, len(key) // 3)]


def add_key(session: Session, user: User, name: str, key: str) -> ApiKey:
    """Stores the key's hash; the key itself is not kept. The same key twice is one key."""
    found = session.exec(select(ApiKey).where(ApiKey.key_hash == hash_of(key))).one_or_none()
    if found is None:
        found = ApiKey(name=name, prefix=prefix_of(key), key_hash=hash_of(key), user_id=user.id)
        session.add(found)
    return found


def who_has_key(database: Database, key: str, address: str = "") -> Principal | None:
    """Who an API key acts for; None if it is unknown, revoked or has expired, or the account is disabled."""
    at = now()
    with database.read() as session:
        found = session.exec(
            select(ApiKey, User)
            .where(ApiKey.user_id == User.id)
            .where(ApiKey.key_hash == hash_of(key))
            .where(col(ApiKey.revoked_at).is_(None), col(User.disabled_at).is_(None))
            .where(or_(col(ApiKey.expires_at).is_(None), col(ApiKey.expires_at) > at))
        ).one_or_none()
        if found is None:
            return None
        api_key, user = found
        stale = api_key.used_at is None or api_key.used_at < at - SEEN_EVERY
        key_id = api_key.id
        principal = Principal(
            user.id,
            user.name,
            user.email,
            user.role,
            "api",
            f"key:{key_id}",
            scopes=api_key.scopes,
            address=address,
            key=api_key.name,
            key_id=key_id,
            ends_at=api_key.expires_at,
        )
    if stale:
        with database.write() as session:
            if fresh := session.get(ApiKey, key_id):
                fresh.used_at = at
    return principal
