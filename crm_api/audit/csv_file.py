"""The audit as CSV, for a spreadsheet that must not run what somebody typed."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator

from crm_api.audit.models import AuditEntry
from crm_api.errors import Problem
from crm_api.web.visible import visible

COLUMNS = ("at", "who", "via", "key", "from", "action", "object", "object_id", "more")
# blanks of all kinds, controls, signs without width
_UNSEEN = re.compile(r"^[\s\x00-\x20\x7f-\xa0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe(text: str) -> str:
    """A text that begins like a formula is made to begin with an apostrophe (OWASP, CSV Injection), whatever stands
    before it that cannot be seen; and what it is can be seen."""
    shown = visible(text)
    begins = _UNSEEN.sub("", text).startswith(_FORMULA) or text.startswith(_FORMULA)
    return f"'{shown}" if begins else shown


def lines(batches: Iterable[list[AuditEntry]]) -> Iterator[str]:
    """A file that had to end in the middle says so in its last line: it must not look whole."""
    yield _written([COLUMNS])
    try:
        for batch in batches:
            yield _written([_cells(entry) for entry in batch])
    except Problem as problem:
        yield _written([("cut here", problem.detail)])


def _cells(entry: AuditEntry) -> list[str]:
    cells = (
        entry.at.isoformat(timespec="milliseconds"),
        entry.actor,
        entry.via,
        entry.key,
        entry.address,
        entry.action,
        entry.object_name,
        entry.object_id,
        json.dumps(entry.data, ensure_ascii=False) if entry.data else "",
    )
    return [safe(cell) for cell in cells]


def _written(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
