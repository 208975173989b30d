"""Who is asking: sessions of browsers and API keys. Only hashes are stored."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import func, or_
from sqlmodel import Session, col, delete, select

from crm_api.auth.models import ApiKey, SignIn, User
from crm_api.auth.passwords import check_password
from crm_api.auth.principal import Principal
from crm_api.auth.throttle import count_try, forget_tries
from crm_api.db import Database
from shared.clock import now

IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=90)
SEEN_EVERY = timedelta(hours=1)  # how exact "last seen" is; a write on each request would cost more than it tells
KEY_PREFIX = "ph_"
_PREFIX_CHARACTERS = 10


class TooManyTries(Exception):
    """The password was not looked at. again_at: when the next try may be made."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at)
        self.again_at = again_at


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def clean_login(email: str) -> str:
    # PostgreSQL refuses NUL in any text, and no account has it
    return email.replace("\0", "").strip().casefold()


def sign_in(database: Database, email: str, password: str, address: str, old_token: str | None = None) -> str | None:
    """A new session's token (256 random bits), or None if account or password is wrong; raises TooManyTries.

    Takes the database, not a session: the password is checked (50 ms of work) outside of any transaction.
    old_token: the session that the browser had; it ends here.
    """
    email = clean_login(email)
    with database.write() as session:
        again_at = count_try(session, email, address)
        if again_at is None:
            user = session.exec(select(User).where(User.email == email)).one_or_none()
    if again_at is not None:
        raise TooManyTries(again_at)
    usable = user is not None and user.disabled_at is None
    right, better = check_password(password, user.password_hash if user and usable else None)
    if not right or user is None:
        return None
    token = secrets.token_urlsafe(32)
    with database.write() as session:
        forget_tries(session, email, address)
        _forget_old_sessions(session, old_token)
        session.add(SignIn(token_hash=hash_of(token), user_id=user.id))
        if better and (stored := session.get(User, user.id)):
            stored.password_hash = better
    return token


def _forget_old_sessions(session: Session, token: str | None) -> None:
    at = now()
    ended = or_(col(SignIn.seen_at) < at - IDLE, col(SignIn.created_at) < at - ABSOLUTE)
    session.execute(delete(SignIn).where(ended))
    if token:
        sign_out(session, token)


def sign_out(session: Session, token: str) -> None:
    session.execute(delete(SignIn).where(col(SignIn.token_hash) == hash_of(token)))


def sign_out_everywhere(session: Session, user: User) -> None:
    session.execute(delete(SignIn).where(col(SignIn.user_id) == user.id))


def who_has_session(database: Database, token: str, address: str = "") -> Principal | None:
    """The person behind a session cookie; None if it is unknown, ended, or the account is disabled."""
    at = now()
    with database.read() as session:
        found = session.exec(
            select(SignIn, User)
            .where(SignIn.user_id == User.id)
            .where(SignIn.token_hash == hash_of(token), col(User.disabled_at).is_(None))
        ).one_or_none()
        if found is None:
            return None
        visit, user = found
        if visit.seen_at < at - IDLE or visit.created_at < at - ABSOLUTE:
            return None
        stale = visit.seen_at < at - SEEN_EVERY
        principal = Principal(user.id, user.name, user.email, user.role, "page", f"user:{user.id}", address=address)
    if stale:
        with database.write() as session:
            if fresh := session.get(SignIn, hash_of(token)):
                fresh.seen_at = at
    return principal


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
        )
    if stale:
        with database.write() as session:
            if fresh := session.get(ApiKey, key_id):
                fresh.used_at = at
    return principal


def make_key() -> str:
    """A new API key: 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def add_key(session: Session, user: User, name: str, key: str) -> ApiKey:
    """Stores the key's hash; the key itself is not kept. The same key twice is one key."""
    found = session.exec(select(ApiKey).where(ApiKey.key_hash == hash_of(key))).one_or_none()
    if found is None:
        prefix = key[: min(_PREFIX_CHARACTERS, len(key) // 3)]
        found = ApiKey(name=name, prefix=prefix, key_hash=hash_of(key), user_id=user.id)
        session.add(found)
    return found


def users(session: Session) -> int:
    return session.exec(select(func.count()).select_from(User)).one()
