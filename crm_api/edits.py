"""Two people edit one thing: of each is written what they changed, and where both changed the same they are told.

A writer says what they saw (a form carries it in hidden fields). The row is locked when it is compared, so nobody comes
between the comparison and the change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from crm_api.errors import Conflict


@dataclass(frozen=True)
class Clash:
    """One field that two people changed at the same time. theirs: what stands there now. mine: what was not written."""

    field: str
    was: str
    theirs: str
    mine: str


@dataclass(frozen=True)
class Change:
    """Who changed a field last, and when."""

    by: str
    at: datetime | None = None


class EditConflict(Conflict):
    """Nothing was written: somebody else has changed the same fields since the writer saw them."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("Somebody else has changed the same in the meantime. Nothing was saved; choose what stays.")
        self.clashes = clashes


def same(one: str, other: str) -> bool:
    """Whether two texts are one, as far as a form can tell: it turns line breaks into CRLF and loses spaces around."""
    return one == other or _as_form(one) == _as_form(other)


def _as_form(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def write_changes(
    row: object, values: Mapping[str, str], seen: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Sets what differs; field → [old, new]. seen: what the writer saw in these fields; without it nothing clashes.

    Raises EditConflict, and has written nothing, if somebody else changed one of them to something else since.
    """
    changes: dict[str, list[str]] = {}
    clashes: list[Clash] = []
    for field, value in values.items():
        now = getattr(row, field)
        if same(now, value):
            continue
        if seen is not None and field in seen and not same(now, seen[field]):
            clashes.append(Clash(field, seen[field], now, value))
        changes[field] = [now, value]
    if clashes:
        raise EditConflict(clashes)
    for field, (_, value) in changes.items():
        setattr(row, field, value)
    return changes
