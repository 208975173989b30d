"""What helps when nobody gets in any more: for who may start our programs and read our settings."""

import sys

from sqlmodel import Session, select

from crm_api.account.service import turn_off_second_factor
from crm_api.audit.record import record
from crm_api.auth import links
from crm_api.auth.mails import url_of
from crm_api.auth.models import User
from crm_api.auth.principal import COMMAND_LINE
from crm_api.auth.service import clean_login
from crm_api.db import Database
from crm_api.settings import CrmSettings


def sign_in_link(settings: CrmSettings, email: str) -> str:
    """A link that lets somebody choose a new password, for an hour."""
    database = Database(settings.database)
    try:
        with database.write() as session:
            user = _user(session, email)
            token = links.make(session, user, "reset")
            record(session, COMMAND_LINE, "user.got_link", user.id, user.email)
            return url_of(settings, token)
    finally:
        database.close()


def second_factor_off(settings: CrmSettings, email: str) -> str:
    database = Database(settings.database)
    try:
        with database.write() as session:
            user = _user(session, email)
            turn_off_second_factor(session, COMMAND_LINE, user.id)
            return f"{user.email} signs in with the password alone."
    finally:
        database.close()


def _user(session: Session, email: str) -> User:
    user = session.exec(select(User).where(User.email == clean_login(email))).one_or_none()
    if user is None or user.disabled_at:
        sys.exit(f"There is no user {email}, or they are disabled.")
    return user
