"""How often somebody may guess a password or a code.

Tries are counted before the password is looked at, so many at once do not slip through, and nobody is kept waiting
in a thread. Counted are: this account from this address (low), everything from the address, and the account from
everywhere (high, or anyone could lock anyone out). Who signed in with the same browser before has a place of their own
(known_browser.py): what others use up behind the same address, or at the same account, does not shut them out.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete, update

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import SignInTries
from crm_api.web.proxies import household
from shared.clock import now

WINDOW = timedelta(minutes=15)
PAIR, ADDRESS, ACCOUNT = 5, 50, 100  # tries in a window
CODE = 10  # of a second factor, from everywhere: who gets that far knows the password
LINK, LINKS = 3, 20  # mails with a link for a new password: to one account, for one address


class TooManyTries(Exception):
    """Nothing was looked at. again_at: when the next try may be made."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at)
        self.again_at = again_at


def _count(session: Session, name: str, at: datetime) -> SignInTries:
    upsert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(SignInTries)
    session.execute(
        upsert.values(key=hash_of(name), since=at, tries=1).on_conflict_do_update(
            index_elements=["key"], set_={"tries": SignInTries.tries + 1}
        )
    )
    return session.get_one(SignInTries, hash_of(name), populate_existing=True)


def _count_each(session: Session, *limits: tuple[str, int]) -> datetime | None:
    at = now()
    session.execute(delete(SignInTries).where(col(SignInTries.since) < at - WINDOW))
    # one after the other: who is out of tries here does not use up the account's for everyone
    for name, limit in limits:
        row = _count(session, name, at)
        if row.tries > limit:
            return row.since + WINDOW
    return None


def count_try(session: Session, email: str, address: str, place: str | None = None) -> datetime | None:
    """Counts one try; None if it may be made, else when the next one may. place: of a browser that is known."""
    if place:
        return _count_each(session, (place, PAIR))
    address = household(address)
    return _count_each(
        session,
        (f"pair:{email}@{address}", PAIR),
        (f"address:{address}", ADDRESS),
        (f"account:{email}", ACCOUNT),
    )


def count_proof(session: Session, user_id: UUID) -> datetime | None:
    """Of somebody who is signed in and says their password once more: whoever else is at their address is no matter."""
    return _count_each(session, (f"proof:{user_id}", PAIR))


def count_code(session: Session, user_id: UUID) -> datetime | None:
    return _count_each(session, (f"code:{user_id}", CODE))


def count_link(session: Session, email: str, address: str, place: str | None = None) -> datetime | None:
    if place:
        return _count_each(session, (f"link:{place}", LINK))
    return _count_each(session, (f"links:{household(address)}", LINKS), (f"link:{email}", LINK))


def count_openid(session: Session, address: str, browser: str | None = None) -> datetime | None:
    """browser: its id, if somebody has signed in with it before."""
    return _count_each(session, (f"openid:{browser or household(address)}", ADDRESS))


def first_use(session: Session, state: str) -> bool:
    """Each way to the OpenID provider leads back once. A state lives shorter than what is counted."""
    return _count_each(session, (f"openid state:{state}", 1)) is None


def forget_tries(session: Session, email: str, address: str, place: str | None = None) -> None:
    """The password was right: the account starts again, the address gets this one try back."""
    if place:
        _forget(session, place)
        return
    address = household(address)
    _forget(session, f"pair:{email}@{address}", f"account:{email}")
    session.execute(
        update(SignInTries)
        .where(col(SignInTries.key) == hash_of(f"address:{address}"))
        .values(tries=SignInTries.tries - 1)
    )


def forget_proofs(session: Session, user_id: UUID) -> None:
    _forget(session, f"proof:{user_id}")


def forget_codes(session: Session, user_id: UUID) -> None:
    _forget(session, f"code:{user_id}")


def _forget(session: Session, *names: str) -> None:
    session.execute(delete(SignInTries).where(col(SignInTries.key).in_([hash_of(name) for name in names])))
