"""Who the person is here whom the OpenID provider has sent, and the link between the two."""

import logging
from dataclasses import replace

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from crm_api.audit.record import record
from crm_api.auth import access
from crm_api.auth.models import ELSEWHERE, User
from crm_api.auth.principal import Principal, somebody
from crm_api.auth.service import Passed, Visitor, clean_login, enter, principal_of, refuse
from crm_api.auth.throttle import TooManyTries, count_openid, first_use
from crm_api.db import Database
from crm_api.errors import Conflict, Invalid, NotFound
from crm_api.openid.failures import NoEntry, Why
from crm_api.openid.models import OpenIdLink
from crm_api.openid.travel import Person
from crm_api.settings import CrmSettings
from crm_api.users.service import MAX_NAME, add
from shared.clock import now

log = logging.getLogger(__name__)


def use_up(database: Database, state: str, visitor: Visitor) -> None:
    """Before anything is asked of the provider. Raises NoEntry for a state that came back once, and TooManyTries."""
    with database.write() as session:
        again_at = count_openid(session, visitor.address, visitor.known.id if visitor.known else None)
        fresh = again_at is None and first_use(session, state)
    if again_at is not None:
        raise TooManyTries(again_at)
    if not fresh:
        raise NoEntry("expired", "the same state came back before")


def come_in(database: Database, settings: CrmSettings, person: Person, visitor: Visitor) -> Passed:
    """The provider's word stands for the password; the second factor, if there is one, is still asked for.

    Raises NoEntry. What is to be remembered of a refusal is committed.
    """
    try:
        with database.write() as session:
            found = _find(session, settings, person, visitor)
            if isinstance(found, User):
                return enter(session, found, visitor, "openid")
    except IntegrityError:  # the same somebody, for the first time, twice at once
        raise NoEntry("expired", "linked by another request just now") from None
    raise NoEntry(found)


def _find(session: Session, settings: CrmSettings, person: Person, visitor: Visitor) -> User | Why:
    link = session.get(OpenIdLink, (person.issuer, person.subject))
    if link:
        user = session.get_one(User, link.user_id)
        link.used_at = now()
    else:
        first = _first_time(session, settings, person, visitor)
        if not isinstance(first, User):
            return first
        user = first
    if user.disabled_at:
        refuse(session, user, visitor, "disabled")
        return "disabled"
    return user


def _first_time(session: Session, settings: CrmSettings, person: Person, visitor: Visitor) -> User | Why:
    """By their address, if the provider has verified that it is theirs: else anybody could call himself anything."""
    email = clean_login(person.email)
    user = session.exec(select(User).where(User.email == email)).one_or_none() if email else None
    if user is None and not settings.openid_adds(email):
        return "unknown"
    if not person.verified:
        if user:
            refuse(session, user, visitor, "address not verified")
        return "unverified"
    if user is None:
        by = replace(somebody(visitor.address), name=settings.openid_label)
        user = _added(session, by, settings, person)
        if user is None:
            return "unknown"
    elif link_of(session, user, person.issuer):
        # the provider has given the address to somebody else, who is not therefore the same person here
        refuse(session, user, visitor, "linked to another person")
        return "taken"
    elif user.disabled_at:
        return user  # and is not linked either
    _link(session, user, person, visitor)
    return user


def _added(session: Session, by: Principal, settings: CrmSettings, person: Person) -> User | None:
    name = " ".join(person.name.split())[:MAX_NAME] or person.email.partition("@")[0][:MAX_NAME]
    try:
        return add(session, by, person.email, name, settings.openid_add_role)
    except Invalid as problem:
        log.warning("somebody from the OpenID provider could not be added: %s", problem.detail)
        return None


def _link(session: Session, user: User, person: Person, visitor: Visitor) -> None:
    session.add(OpenIdLink(issuer=person.issuer, subject=person.subject, user_id=user.id))
    if user.invited:
        user.password_hash = ELSEWHERE
    access.changed(session, user.id)
    session.flush()
    by = principal_of(user, visitor.address)
    record(session, by, "user.openid_linked", user.id, user.email, issuer=person.issuer, subject=person.subject)


def link_of(session: Session, user: User, issuer: str | None) -> OpenIdLink | None:
    return session.exec(
        select(OpenIdLink).where(col(OpenIdLink.user_id) == user.id, col(OpenIdLink.issuer) == issuer)
    ).one_or_none()


def remove_link(session: Session, by: Principal, settings: CrmSettings) -> None:
    """Their own. The next sign-in there links again, if the provider still has their address."""
    user = session.get_one(User, by.user_id)
    link = link_of(session, user, settings.openid_issuer)
    if link is None:
        raise NotFound("There is no such link any more.")
    if settings.openid_only or not user.has_password:
        raise Conflict("You could not sign in any more. Set a password first.")
    session.delete(link)
    record(session, by, "user.openid_removed", user.id, user.email, issuer=link.issuer, subject=link.subject)
