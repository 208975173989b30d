"""Signing in with a browser, and the sessions that come of it. Only hashes are stored."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import or_
from sqlmodel import Session, col, delete, select

from crm_api.audit.record import record
from crm_api.auth import access, links, second_factor
from crm_api.auth.hashing import hash_of
from crm_api.auth.known_browser import KnownBrowser
from crm_api.auth.models import SignIn, User
from crm_api.auth.passwords import check_password
from crm_api.auth.principal import Principal, Via, somebody
from crm_api.auth.sealing import Seal
from crm_api.auth.throttle import TooManyTries, count_code, count_try, forget_codes, forget_tries
from crm_api.changes import announce
from crm_api.db import Database
from shared.addresses import address_key
from shared.clock import now

IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=90)
SEEN_EVERY = timedelta(hours=1)  # how exact "last seen" is; a write on each request would cost more than it tells
_BROWSER_CHARACTERS = 300
_HANDLE_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Visitor:
    """The browser at the door. old_token: the session that it had; it ends when a new one begins. known: if somebody
    has signed in with it before."""

    address: str = ""
    browser: str = ""
    old_token: str | None = None
    known: KnownBrowser | None = None

    def place_of(self, user: User | None) -> str | None:
        """Where this user's tries are counted, if this browser is theirs."""
        return self.known.place_of(user.id) if self.known and user else None


@dataclass(frozen=True, slots=True)
class Passed:
    """needs_code: the token is no session's yet; it goes with the code of the second factor."""

    token: str
    user_id: UUID
    needs_code: bool = False


def clean_login(email: str) -> str:
    # PostgreSQL refuses NUL in any text, and no account has it
    return address_key(email.replace("\0", ""))


def principal_of(user: User, address: str = "", via: Via = "page") -> Principal:
    return Principal(user.id, user.name, user.email, user.role, via, f"user:{user.id}", address=address)


def sign_in(database: Database, email: str, password: str, visitor: Visitor) -> Passed | None:
    """None if account or password is wrong; raises TooManyTries.

    Takes the database, not a session: the password is checked (50 ms of work) outside of any transaction.
    """
    email = clean_login(email)
    with database.write() as session:
        user = session.exec(select(User).where(User.email == email)).one_or_none()
        place = visitor.place_of(user)
        again_at = count_try(session, email, visitor.address, place)
    if again_at is not None:
        raise TooManyTries(again_at)
    usable = user is not None and user.disabled_at is None and user.has_password
    right, better = check_password(password, user.password_hash if user and usable else None)
    if not right or user is None:
        return None
    with database.write() as session:
        forget_tries(session, email, visitor.address, place)
        stored = session.get_one(User, user.id)
        if better:
            stored.password_hash = better
        return enter(session, stored, visitor)


def enter(session: Session, user: User, visitor: Visitor, after: links.Kind = "code") -> Passed:
    """The first step was right; after: which one that was, as the second will want to know."""
    if user.second_factor:
        return Passed(links.make(session, user, after), user.id, needs_code=True)
    return Passed(begin(session, user, visitor, after == "openid"), user.id)


def note_refusal(database: Database, email: str, visitor: Visitor) -> None:
    """After the answer: it takes longer for an account that there is, and nobody should see that."""
    with database.write() as session:
        user = session.exec(select(User).where(User.email == clean_login(email))).one_or_none()
        if user is not None:
            refuse(session, user, visitor, "disabled" if user.disabled_at else "password")


def sign_in_with_code(database: Database, seal: Seal, token: str, code: str, visitor: Visitor) -> Passed | None:
    """The second step. None if the code is wrong; raises TooManyTries, and LookupError if the first is too long ago."""
    with database.write() as session:
        found = links.look(session, token, *links.STEPS)
        again_at = count_code(session, found[0].id) if found else None
    if found is None:
        raise LookupError(token)
    if again_at is not None:
        raise TooManyTries(again_at)
    with database.write() as session:
        user = session.get_one(User, found[0].id)
        kind = second_factor.check(session, seal, user, code)
        if kind is None:
            refuse(session, user, visitor, "second factor")
            return None
        if links.take(session, token, found[1]) is None:  # another was faster, or it expired just now
            raise LookupError(token)
        forget_codes(session, user.id)
        if kind == "recovery":
            left = second_factor.codes_left(session, user)
            record(session, principal_of(user, visitor.address), "user.code_used", user.id, user.email, left=left)
        return Passed(begin(session, user, visitor, found[1] == "openid"), user.id)


def refuse(session: Session, user: User, visitor: Visitor, why: str) -> None:
    record(session, somebody(visitor.address), "user.refused", user.id, user.email, why=why)


def begin(session: Session, user: User, visitor: Visitor, openid: bool = False) -> str:
    """A new session's token (256 random bits)."""
    _forget_old_sessions(session, visitor.old_token)
    token = secrets.token_urlsafe(32)
    browser = visitor.browser[:_BROWSER_CHARACTERS]
    how = {"with": "OpenID Connect"} if openid else {}
    session.add(SignIn(token_hash=hash_of(token), user_id=user.id, address=visitor.address, browser=browser))
    record(session, principal_of(user, visitor.address), "user.signed_in", user.id, user.email, **how)
    return token


def _forget_old_sessions(session: Session, token: str | None) -> None:
    at = now()
    ended = or_(col(SignIn.seen_at) < at - IDLE, col(SignIn.created_at) < at - ABSOLUTE)
    session.execute(delete(SignIn).where(ended))
    if token:
        sign_out(session, token)


def sign_out(session: Session, token: str) -> None:
    if visit := session.get(SignIn, hash_of(token)):
        session.delete(visit)
        announce(session, access.topic_of(visit.user_id))


def sign_out_everywhere(session: Session, user_id: UUID, but: str | None = None) -> int:
    """How many sessions ended. but: the token of the one that goes on."""
    ended = delete(SignIn).where(col(SignIn.user_id) == user_id)
    if but:
        ended = ended.where(col(SignIn.token_hash) != hash_of(but))
    announce(session, access.topic_of(user_id))
    return session.connection().execute(ended).rowcount


def sign_out_one(session: Session, user_id: UUID, handle: str) -> bool:
    """Whether there was one."""
    mine = col(SignIn.token_hash).startswith(handle, autoescape=True) & (col(SignIn.user_id) == user_id)
    if len(handle) < _HANDLE_CHARACTERS or not handle.isalnum():
        return False
    announce(session, access.topic_of(user_id))
    return session.connection().execute(delete(SignIn).where(mine)).rowcount > 0


def sessions_of(session: Session, user_id: UUID) -> Sequence[SignIn]:
    """Those that are open, newest use first."""
    at = now()
    return session.exec(
        select(SignIn)
        .where(SignIn.user_id == user_id, SignIn.seen_at > at - IDLE, SignIn.created_at > at - ABSOLUTE)
        .order_by(col(SignIn.seen_at).desc(), col(SignIn.created_at).desc())
    ).all()


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
        ends_at = min(visit.seen_at + IDLE, visit.created_at + ABSOLUTE)
        principal = replace(principal_of(user, address), ends_at=ends_at)
    if stale:
        with database.write() as session:
            if fresh := session.get(SignIn, hash_of(token)):
                fresh.seen_at = at
    return principal
