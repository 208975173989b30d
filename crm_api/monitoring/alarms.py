"""What is wrong and no process can mend by itself.

Each process has its alarms in memory (`raise_alarm`, `clear`). Those of workers come with their heartbeats, and
those of dispatch stand in its own row; a web's own are shown by that web. So an alarm ends when its cause does, or
the process that knows of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from crm_api.monitoring.models import Process
from shared.alarms import Alarm, Alarms

of_this_process = Alarms()
raise_alarm = of_this_process.raise_alarm
clear = of_this_process.clear


@dataclass(frozen=True, slots=True)
class ShownAlarm:
    """One for all processes that say the same. where: their names; since: when the first of them noticed."""

    kind: str
    sentence: str
    advice: str | None
    since: datetime
    where: tuple[str, ...]


def own() -> tuple[Alarm, ...]:
    return of_this_process.all


def to_data(alarms: Iterable[Alarm]) -> list[dict[str, Any]]:
    """As they stand in a process's row."""
    return [msgspec.to_builtins(alarm) for alarm in alarms]


def together(rows: Iterable[Process]) -> tuple[ShownAlarm, ...]:
    """Of all these processes and of this one; the oldest first."""
    found: dict[tuple[str, str], ShownAlarm] = {}
    said = [(row.name, alarm) for row in rows for alarm in _of_row(row)]
    for name, alarm in [*said, *(("", alarm) for alarm in own())]:
        key = alarm.kind, alarm.sentence
        known = found.get(key) or ShownAlarm(*key, alarm.advice or None, alarm.since, ())
        where = {*known.where, name} - {""}
        found[key] = ShownAlarm(*key, known.advice, min(known.since, alarm.since), tuple(sorted(where)))
    return tuple(sorted(found.values(), key=lambda shown: (shown.since, shown.kind)))


def _of_row(row: Process) -> list[Alarm]:
    """None of a row that another version wrote in its own way: no page may fail at it."""
    try:
        return msgspec.convert(row.data.get("alarms", []), list[Alarm])
    except msgspec.ValidationError:
        return []


def tell_deaf(deaf: bool) -> None:
    """As ChangeFeed's: whether what other processes change is not heard."""
    if deaf:
        raise_alarm("changes", NOT_HEARD, NOT_HEARD_ADVICE)
    else:
        clear("changes")


NOT_HEARD = "Changes are not told by the database but asked for, so pages and sending are a little slower."
NOT_HEARD_ADVICE = (
    "POSTHASTE_DATABASE_URL leads to a pooler in transaction mode, which passes no NOTIFY on. It must lead to "
    "PostgreSQL itself, or to a pooler in session mode."
)
