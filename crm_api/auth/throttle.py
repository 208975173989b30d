"""How often somebody may guess a password.

Tries are counted before the password is looked at, so many at once do not slip through, and nobody is kept waiting
in a thread. Counted are: this account from this address (low), everything from the address, and the account from
everywhere (high, or anyone could lock anyone out).
"""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete, update

from crm_api.auth.models import SignInTries
from shared.clock import now

WINDOW = timedelta(minutes=15)
PAIR, ADDRESS, ACCOUNT = 5, 50, 100  # tries in a window


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _count(session: Session, name: str, at: datetime) -> SignInTries:
    upsert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(SignInTries)
    session.execute(
        upsert.values(key=_key(name), since=at, tries=1).on_conflict_do_update(
            index_elements=["key"], set_={"tries": SignInTries.tries + 1}
        )
    )
    return session.get_one(SignInTries, _key(name), populate_existing=True)


def count_try(session: Session, email: str, address: str) -> datetime | None:
    """Counts one try; None if it may be made, else when the next one may."""
    at = now()
    session.execute(delete(SignInTries).where(col(SignInTries.since) < at - WINDOW))
    # one after the other: who is out of tries here does not use up the account's for everyone
    for name, limit in (
        (f"pair:{email}@{address}", PAIR),
        (f"address:{address}", ADDRESS),
        (f"account:{email}", ACCOUNT),
    ):
        row = _count(session, name, at)
        if row.tries > limit:
            return row.since + WINDOW
    return None


def forget_tries(session: Session, email: str, address: str) -> None:
    """The password was right: the account starts again, the address gets this one try back."""
    forgotten = [_key(f"pair:{email}@{address}"), _key(f"account:{email}")]
    session.execute(delete(SignInTries).where(col(SignInTries.key).in_(forgotten)))
    session.execute(
        update(SignInTries)
        .where(col(SignInTries.key) == _key(f"address:{address}"))
        .values(tries=SignInTries.tries - 1)
    )
