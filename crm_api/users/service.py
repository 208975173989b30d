"""The verbs of users. One admin always stays: nobody can lock everybody out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, func, text
from sqlmodel import Session, col, select

from crm_api.audit.models import RARE, AuditEntry
from crm_api.audit.record import record
from crm_api.auth import access, links
from crm_api.auth.mails import send_link
from crm_api.auth.models import NO_PASSWORD, SignIn, User
from crm_api.auth.principal import Principal
from crm_api.auth.reach import check_reach
from crm_api.auth.roles import Role
from crm_api.auth.service import clean_login, sign_out_everywhere
from crm_api.edits import Change, write_changes
from crm_api.errors import Conflict, FieldProblem, Invalid, NotFound
from crm_api.messages.models import Suppression
from crm_api.paging import after, make_cursor, read_cursor
from crm_api.settings import CrmSettings
from shared.addresses import BadAddress, address_key, clean_address
from shared.clock import now
from shared.files import FileStore
from shared.header_text import BadHeader, one_line

MAX_NAME = 100

Condition = Literal["active", "invited", "disabled"]


def condition(user: User) -> Condition:
    return "disabled" if user.disabled_at else "invited" if user.invited else "active"


def get(session: Session, user_id: UUID) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def list_page(session: Session, cursor: str | None = None, limit: int = 50) -> tuple[list[User], str | None]:
    """By address."""
    rows = select(User).order_by(col(User.email), col(User.id)).limit(limit + 1)
    if cursor:
        rows = rows.where(after((User.email, User.id), read_cursor(cursor, str, UUID), descending=False))
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1].email, found[limit - 1].id) if len(found) > limit else None


def last_seen(session: Session, users: Sequence[User]) -> dict[UUID, datetime]:
    """Of those who are signed in somewhere; right to the hour."""
    rows = session.execute(
        select(SignIn.user_id, func.max(col(SignIn.seen_at)))
        .where(col(SignIn.user_id).in_([user.id for user in users]))
        .group_by(col(SignIn.user_id))
    )
    return {row[0]: row[1] for row in rows}


def add(session: Session, by: Principal, email: str, name: str, role: str) -> User:
    """Somebody who has no password yet. Raises Invalid that names every wrong field."""
    problems: list[FieldProblem] = []
    cleaned = _name(name, problems)
    chosen = _role(role, problems)
    address = ""
    try:
        address = clean_login(clean_address(email))
    except BadAddress as problem:
        problems.append(FieldProblem("email", str(problem)))
    if address and session.exec(select(User.id).where(User.email == address)).first():
        problems.append(FieldProblem("email", f"{address} has an account already."))
    _raise(problems)
    check_reach(by, chosen)
    user = User(email=address, name=cleaned, role=chosen, password_hash=NO_PASSWORD)
    session.add(user)
    session.flush()
    record(session, by, "user.added", user.id, user.email, role=chosen)
    return user


def invite(session: Session, files: FileStore, settings: CrmSettings, by: Principal, user_id: UUID) -> User:
    """Mails a link: to choose a first password, or a new one. Earlier links end."""
    user = get(session, user_id)
    if user.disabled_at:
        raise Conflict(f"{user.name} is disabled. Let them in again first.")
    check_reach(by, user.role)
    # as for any letter that a person sends again
    session.execute(delete(Suppression).where(col(Suppression.address).in_({user.email, address_key(user.email)})))
    send_link(session, files, settings, by, user, "invite" if user.invited else "reset")
    record(session, by, "user.invited", user.id, user.email)
    return user


def change(
    session: Session,
    by: Principal,
    user_id: UUID,
    name: str | None,
    role: str | None,
    seen: Mapping[str, str] | None = None,
) -> User:
    """Acts from the next request on, wherever they are signed in.

    seen: what who changes it saw in the fields; raises EditConflict if somebody else changed them since.
    """
    problems: list[FieldProblem] = []
    new = {
        "name": None if name is None else _name(name, problems),
        "role": None if role is None else _role(role, problems),
    }
    _raise(problems)
    user = get_to_change(session, user_id)
    check_reach(by, user.role, new["role"] or user.role)
    if user.role == Role.admin and role not in (None, Role.admin):
        _not_the_last(session, user)  # before anything is written, which would be counted
    changes = write_changes(user, {field: value for field, value in new.items() if value is not None}, seen)
    if changes:
        access.changed(session, user.id)
        record(session, by, "user.changed", user.id, user.email, **changes)
    return user


def changed_by(session: Session, user_id: UUID) -> dict[str, Change]:
    """Field → who changed it last."""
    entries = session.exec(
        select(AuditEntry)
        .where(AuditEntry.object_id == str(user_id), AuditEntry.action == "user.changed", text(RARE))
        .order_by(col(AuditEntry.id).desc())
        .limit(20)
    )
    found: dict[str, Change] = {}
    for entry in entries:
        for field in entry.data:
            found.setdefault(field, Change(entry.actor, entry.at))
    return found


def disable(session: Session, by: Principal, user_id: UUID) -> User:
    """Out at once, everywhere; their keys open nothing. What they did keeps their name."""
    user = get_to_change(session, user_id)
    check_reach(by, user.role)
    if user.id == by.user_id:
        raise Conflict("You cannot disable yourself. Another admin can.")
    if user.disabled_at is None:
        _not_the_last(session, user)
        user.disabled_at = now()
        sign_out_everywhere(session, user.id)
        links.forget(session, user.id)
        access.changed(session, user.id)
        record(session, by, "user.disabled", user.id, user.email)
    return user


def enable(session: Session, by: Principal, user_id: UUID) -> User:
    user = get_to_change(session, user_id)
    check_reach(by, user.role)
    if user.disabled_at is not None:
        user.disabled_at = None
        access.changed(session, user.id)
        record(session, by, "user.enabled", user.id, user.email)
    return user


def end_sessions(session: Session, by: Principal, user_id: UUID) -> int:
    user = get(session, user_id)
    check_reach(by, user.role)
    ended = sign_out_everywhere(session, user.id)
    if ended:
        record(session, by, "user.sessions_ended", user.id, user.email, sessions=ended)
    return ended


def get_to_change(session: Session, user_id: UUID) -> User:
    """Locked: whoever else changes the account waits until this transaction ends."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def _not_the_last(session: Session, user: User) -> None:
    """Locks the admins, so that two of them cannot remove each other at the same time."""
    others = select(User.id).where(
        User.role == Role.admin, col(User.disabled_at).is_(None), col(User.password_hash) != NO_PASSWORD
    )
    ids = set(session.exec(others.order_by(col(User.id)).with_for_update()))
    if user.id in ids and len(ids) == 1:
        raise Conflict(f"{user.name} is the only admin. Make somebody else one first.")


def _name(name: str, problems: list[FieldProblem]) -> str:
    try:
        cleaned = one_line(name)
    except BadHeader as problem:
        problems.append(FieldProblem("name", str(problem)))
        return ""
    if not 1 <= len(cleaned) <= MAX_NAME:
        problems.append(FieldProblem("name", f"A name has 1 to {MAX_NAME} characters."))
    return cleaned


def _role(role: str, problems: list[FieldProblem]) -> str:
    if role not in Role.__members__:
        problems.append(FieldProblem("role", f"There is no role {role!r}. Take one of: {', '.join(Role)}."))
    return role


def _raise(problems: list[FieldProblem]) -> None:
    if problems:
        raise Invalid(problems[0].message, *problems)
