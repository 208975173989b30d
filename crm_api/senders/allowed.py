"""Whether somebody may write as this sender: asked of every message that names one, and remembered.

The sender of the settings may always stand in From. Beside it: what an admin has listed, and while that is nothing, the
domain of the settings' sender. A domain does not speak for those below it, unless it is listed with a star.
"""

import re
import threading
import time
import unicodedata
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlmodel import Session, select

from crm_api.changes import announce
from crm_api.errors import FieldProblem
from crm_api.senders.models import AllowedSender
from crm_api.settings import CrmSettings
from shared.addresses import address_key

TOPIC = "senders"
FIELD, NAME_FIELD = "sender.address", "sender.name"
_LOOKS_LIKE_ONE = re.compile(r"""[^\s<>()\[\]",;:@]+@[^\s<>()\[\]",;:@]+\.[^\s<>()\[\]",;:@.]+""")
# a change is known at once, here and where the feed tells of it; this is for a process that hears nothing
KNOWN_SECONDS = 10.0
_FEW = 5  # that a refusal names

_lock = threading.Lock()
_version = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """As an AllowedSender, read once."""

    key: str
    written: str
    name: str = ""

    @property
    def is_domain(self) -> bool:
        return self.key.startswith("@")


_Known = tuple[int, float, tuple[Listed, ...]]
_known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def look_again() -> None:
    global _version
    with _lock:
        _version += 1


def changed(session: Session) -> None:
    """To be said in the transaction that changes the list."""
    announce(session, TOPIC)
    event.listen(session, "after_commit", lambda _: look_again(), once=True)


def default(settings: CrmSettings) -> Listed:
    domain = settings.sender_address.rpartition("@")[2]
    return Listed(address_key(f"@{domain}"), f"@{domain}")


def listed(session: Session, settings: CrmSettings) -> tuple[Listed, ...]:
    """What may stand in From beside the settings' sender; read again only when it has changed."""
    engine = session.get_bind().engine
    version, until, found = _known.get(engine, (-1, 0.0, ()))
    if version != _version or time.monotonic() > until:
        version = _version
        rows = session.exec(select(AllowedSender).order_by(AllowedSender.key)).all()
        found = tuple(Listed(row.key, row.written, row.name) for row in rows)
        _known[engine] = version, time.monotonic() + KNOWN_SECONDS, found
    return found or (default(settings),)


def is_allowed(session: Session, settings: CrmSettings, address: str) -> bool:
    key = address_key(address)
    return key == address_key(settings.sender_address) or any(covers(one.key, key) for one in listed(session, settings))


def covers(listed_key: str, key: str) -> bool:
    """Both as address_key makes them."""
    if not listed_key.startswith("@"):
        return key == listed_key
    domain = key.rpartition("@")[2]
    if listed_key.startswith("@*."):
        return domain.endswith(listed_key[2:])
    return domain == listed_key[1:]


def check_sender(
    session: Session, settings: CrmSettings, name: str, address: str, problems: list[FieldProblem]
) -> None:
    if not is_allowed(session, settings, address):
        problems.append(FieldProblem(FIELD, _advice(session, settings, f"Nobody may write as {address} here.")))
    chosen = {settings.sender_name, *(one.name for one in listed(session, settings))}  # what admins have written
    for said in () if name in chosen else addresses_in(name):
        if not is_allowed(session, settings, said):
            what = (
                f"A name cannot be an address that nobody may write as, like {said}: many programs show only the name."
            )
            problems.append(FieldProblem(NAME_FIELD, _advice(session, settings, what)))


def addresses_in(name: str) -> list[str]:
    """What a reader takes for an address, though it is written with wide letters or has others that cannot be seen."""
    if "@" not in (plain := name if name.isascii() else unicodedata.normalize("NFKC", name)):
        return []
    seen = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return _LOOKS_LIKE_ONE.findall(seen)


def _advice(session: Session, settings: CrmSettings, what: str) -> str:
    some = [one.written for one in listed(session, settings)]
    more = f" and {len(some) - _FEW} more" if len(some) > _FEW else ""
    return (
        f"{what} Allowed: {settings.sender_address}, {', '.join(some[:_FEW])}{more}. "
        "An admin can allow others: Senders, in the menu."
    )
