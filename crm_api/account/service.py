"""What people do with their own account. Each verb leaves its entry in the audit."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from crm_api.audit.record import record
from crm_api.auth import access, links, second_factor
from crm_api.auth.models import User
from crm_api.auth.passwords import check_new_password, check_password, hash_password
from crm_api.auth.principal import Principal
from crm_api.auth.sealing import Seal
from crm_api.auth.service import Visitor, begin, sign_out_everywhere, sign_out_one
from crm_api.auth.throttle import count_proof, forget_proofs
from crm_api.db import Database
from crm_api.errors import Conflict, Invalid, NotFound
from shared.clock import now


def me(session: Session, by: Principal) -> User:
    return session.get_one(User, by.user_id)


def change_password(database: Database, by: Principal, old: str, new: str, visitor: Visitor) -> str:
    """Ends every session of the account and answers the token of a new one. Raises Invalid."""
    check_new_password(new, by.email, "new", by.name)
    proved = prove(database, by, old, "old")
    hashed = hash_password(new)
    with database.write() as session:
        user = session.get_one(User, by.user_id, with_for_update=True)
        if user.password_hash != proved:  # of two who change it at once, the second has not proved the new one
            raise Invalid.field("old", "It has just been changed elsewhere. Sign in with the new one.")
        user.password_hash = hashed
        links.forget(session, user.id)
        sign_out_everywhere(session, user.id)
        access.changed(session, user.id)
        record(session, by, "user.password_changed", user.id, user.email)
        return begin(session, user, visitor)


def prove(database: Database, by: Principal, password: str, field: str = "password") -> str:
    """It is really they, and not somebody at a screen that was left. The hash that fitted. Raises Invalid."""
    with database.write() as session:
        again_at = count_proof(session, by.user_id)
        stored = me(session, by).password_hash
    if again_at is not None:
        raise Invalid.field(field, _too_many(again_at))
    right, _ = check_password(password, stored)
    if not right:
        raise Invalid.field(field, "This is not your password.")
    with database.write() as session:
        forget_proofs(session, by.user_id)
    return stored


def _too_many(again_at: datetime) -> str:
    minutes = max(1, round((again_at - now()).total_seconds() / 60))
    return f"Too many tries. Try again in {minutes} min."


def end_session(session: Session, by: Principal, handle: str) -> None:
    if not sign_out_one(session, by.user_id, handle):
        raise NotFound("This session has ended already.")
    record(session, by, "user.sessions_ended", by.user_id, by.email, sessions=1)


def end_other_sessions(session: Session, by: Principal, token: str | None) -> int:
    ended = sign_out_everywhere(session, by.user_id, but=token)
    if ended:
        record(session, by, "user.sessions_ended", by.user_id, by.email, sessions=ended)
    return ended


def begin_second_factor(session: Session, seal: Seal, by: Principal) -> tuple[User, str]:
    """The user, and a secret that is asked for only when it was confirmed. The same until then."""
    user = me(session, by)
    if user.second_factor:
        raise Conflict("The second factor is on already. Turn it off first.")
    secret = second_factor.kept(seal, user)
    if secret is None:
        secret = second_factor.new_secret()
        second_factor.keep(seal, user, secret)
    return user, secret


def confirm_second_factor(session: Session, seal: Seal, by: Principal, code: str) -> list[str]:
    """Turns it on if the code fits, and answers recovery codes to show once. Raises Invalid."""
    user, secret = begin_second_factor(session, seal, by)
    step = second_factor.step_of(secret, code)
    if step is None or step <= user.totp_step:
        raise Invalid.field("code", "This code does not fit. Write the six digits that the app shows now.")
    user.totp_step, user.totp_since = step, now()
    record(session, by, "user.second_factor_on", user.id, user.email)
    return second_factor.make_codes(session, user)


def new_codes(session: Session, by: Principal) -> list[str]:
    user = me(session, by)
    if not user.second_factor:
        raise Conflict("There is no second factor that a recovery code could stand in for.")
    record(session, by, "user.codes_made", user.id, user.email)
    return second_factor.make_codes(session, user)


def turn_off_second_factor(session: Session, by: Principal, user_id: UUID | None = None) -> None:
    """Their own, or as an admin another's."""
    user = session.get(User, user_id or by.user_id)
    if user is None:
        raise NotFound("There is no such user.")
    if user.second_factor:
        second_factor.turn_off(session, user)
        record(session, by, "user.second_factor_off", user.id, user.email)
