"""What is remembered about users and keys is asked anew as soon as one of them has changed.

In this process at the very commit; in others when they hear of it (crm_api.changes), some milliseconds later.
"""

import threading
from uuid import UUID

from sqlalchemy import event
from sqlmodel import Session

from crm_api.changes import announce

TOPIC = "access"

_lock = threading.Lock()
_version = 0


def version() -> int:
    """What was looked up under another one is no longer to be trusted. Take it before looking up."""
    return _version


def look_again() -> None:
    global _version
    with _lock:
        _version += 1


def topic_of(user_id: UUID) -> str:
    """Ends the streams of this user's open pages; those that may still come in open them again."""
    return f"user:{user_id}"


def changed(session: Session, user_id: UUID) -> None:
    """To be said in the transaction that changes what a user, or a key that acts for them, may do."""
    announce(session, TOPIC, topic_of(user_id))
    event.listen(session, "after_commit", lambda _: look_again(), once=True)
