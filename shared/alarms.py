"""What a process knows to be wrong and cannot mend by itself, for whoever can.

It stands in the process's memory as long as it is so, travels with the process's sign of life, and ends with it.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from shared.clock import now

MAX_ALARMS = 16  # of one process
MAX_KIND, MAX_SENTENCE, MAX_ADVICE = 40, 300, 1000  # characters


class Alarm(msgspec.Struct, frozen=True):
    """kind: one word, like route; of each kind a process has at most one. sentence: what is wrong, for everybody.
    advice: what to do, and the exact words of the other side, for those who may mend it."""

    kind: Annotated[str, msgspec.Meta(max_length=MAX_KIND)]
    sentence: Annotated[str, msgspec.Meta(max_length=MAX_SENTENCE)]
    advice: Annotated[str, msgspec.Meta(max_length=MAX_ADVICE)]
    since: Annotated[datetime, msgspec.Meta(tz=True)]


class Alarms:
    """Those of one process. May be used from any thread."""

    def __init__(self) -> None:
        self._alarms: dict[str, Alarm] = {}

    def raise_alarm(self, kind: str, sentence: str, advice: str = "") -> bool:
        """Again with other words: they are exchanged, and it is still the same alarm. Too long ones are cut.

        False: nothing new was said.
        """
        kind = kind[:MAX_KIND]
        known = self._alarms.get(kind)
        if known is None and len(self._alarms) >= MAX_ALARMS:
            return False
        since = known.since if known else now()
        self._alarms[kind] = new = Alarm(kind, _cut(sentence, MAX_SENTENCE), _cut(advice, MAX_ADVICE), since)
        return new != known

    def clear(self, kind: str) -> None:
        """Mended; nothing happens if there was no such alarm."""
        self._alarms.pop(kind[:MAX_KIND], None)

    @property
    def all(self) -> tuple[Alarm, ...]:
        """The oldest first."""
        return tuple(sorted(self._alarms.copy().values(), key=lambda alarm: (alarm.since, alarm.kind)))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
