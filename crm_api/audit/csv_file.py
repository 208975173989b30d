"""The audit as CSV, for a spreadsheet that must not run what somebody typed."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from crm_api.audit.models import AuditEntry
from crm_api.errors import Problem

COLUMNS = ("at", "who", "via", "key", "from", "action", "object", "object_id", "more")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe(text: str) -> str:
    """A text that begins like a formula is made to begin with an apostrophe (OWASP, CSV Injection)."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


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
