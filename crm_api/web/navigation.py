"""The entries of the main navigation. One appears when its room has pages."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec


@dataclass(frozen=True)
class Entry:
    room: str
    url: str
    word: str
    icon: str


WORK = (
    Entry("customers", "/customers", "Customers", "i-customers"),
    Entry("messages", "/messages", "Messages", "i-messages"),
)
OPERATIONS = (
    Entry("reconciliation", "/reconciliation", "Reconciliation", "i-balance"),
    Entry("sandbox", "/sandbox", "Sandbox inbox", "i-sandbox"),
)


@cache
def _exists(room: str) -> bool:
    return find_spec(f"crm_api.{room}.pages") is not None


def entries() -> tuple[list[Entry], list[Entry]]:
    """Work, operations."""
    return [entry for entry in WORK if _exists(entry.room)], [entry for entry in OPERATIONS if _exists(entry.room)]
