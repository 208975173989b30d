"""What a mailed link is for: a first password, or a new one."""

import logging

from sqlmodel import select

from crm_api.audit.record import record
from crm_api.auth import access, links
from crm_api.auth.mails import send_link
from crm_api.auth.models import User
from crm_api.auth.passwords import check_new_password, hash_password
from crm_api.auth.principal import somebody
from crm_api.auth.service import Visitor, clean_login, principal_of, sign_out_everywhere
from crm_api.auth.throttle import count_link
from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.settings import CrmSettings
from shared.files import FileStore

log = logging.getLogger(__name__)


def ask_for_link(database: Database, files: FileStore, settings: CrmSettings, email: str, visitor: Visitor) -> None:
    """Mails a link if there is such an account and it was not asked for too often; else nothing happens."""
    email, address = clean_login(email), visitor.address
    with database.write() as session:
        user = session.exec(select(User).where(User.email == email)).one_or_none()
        if count_link(session, email, address, visitor.place_of(user)) is not None:
            return
        if user is None or user.disabled_at is not None:
            return
        by = principal_of(user, address)
        record(session, somebody(address), "user.asked_for_link", user.id, user.email)
        try:
            send_link(session, files, settings, by, user, "invite" if user.invited else "reset")
        except Invalid as problem:  # an account may have been made with an address that takes no mail
            log.warning("no link could be mailed to %s: %s", user.email, problem.detail)


def whose_link(database: Database, token: str) -> tuple[User, links.Kind] | None:
    with database.read() as session:
        return links.look(session, token, *links.MAILED)


def choose_password(database: Database, token: str, password: str, address: str) -> User | None:
    """Uses the link up; every session of the account ends. None if the link is none any more; raises Invalid."""
    found = whose_link(database, token)
    if found is None:
        return None
    check_new_password(password, found[0].email, name=found[0].name)
    hashed = hash_password(password)
    with database.write() as session:
        taken = links.take(session, token, *links.MAILED)
        if taken is None:
            return None
        user = taken[0]
        user.password_hash = hashed
        links.forget(session, user.id)
        sign_out_everywhere(session, user.id)
        access.changed(session, user.id)
        record(session, principal_of(user, address), "user.password_changed", user.id, user.email, link=taken[1])
        return user
