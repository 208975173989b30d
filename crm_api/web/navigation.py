"""The entries of the main navigation. One appears when its room has pages."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from crm_api.auth.principal import Principal


@dataclass(frozen=True)
class Entry:
    room: str
    url: str
    word: str
    icon: str
    verb: str  # who may use it sees it


WORK = (
    Entry("customers", "/customers", "Customers", "i-customers", "customers.read"),
    Entry("messages", "/messages", "Messages", "i-messages", "messages.read"),
)
HOUSE = (
    Entry("users", "/users", "Users", "i-customers", "users.manage"),
    Entry("keys", "/keys", "API keys", "i-key", "keys.manage"),
    Entry("senders", "/senders", "Senders", "i-send", "senders.manage"),
    Entry("audit", "/audit", "Audit", "i-audit", "audit.read"),
)
OPERATIONS = (
    Entry("reconciliation", "/reconciliation", "Reconciliation", "i-balance", "reconciliation.read"),
    Entry("sandbox", "/sandbox", "Sandbox inbox", "i-sandbox", "sandbox.read"),
)


@cache
def _exists(room: str) -> bool:
    return find_spec(f"crm_api.{room}.pages") is not None


def entries(principal: Principal | None) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Work, operations, the house itself: what this person may use."""

    def theirs(group: tuple[Entry, ...]) -> list[Entry]:
        return [entry for entry in group if principal and principal.may(entry.verb) and _exists(entry.room)]

    return theirs(WORK), theirs(OPERATIONS), theirs(HOUSE)
