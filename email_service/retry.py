"""When again, or never: pure functions, nothing is sent or stored here."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import topology

STEPS = ("30s", "2m", "10m", "30m", "1h")  # after the first, second … attempt
THEN = "4h"
LAST_STEPS = ("1h", "30m", "10m")  # instead of a longer one that would end after the message's time
UNKNOWN_STEP = "10m"
PARK_STEP = "30s"


@dataclass(frozen=True, slots=True)
class Wait:
    step: str  # a key of topology.WAIT_SECONDS: which queue it waits in
    seconds: float

    def until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.seconds)

    @property
    def milliseconds(self) -> int:
        return max(1, round(self.seconds * 1000))


def wait(step: str, chance: float, scale: float = 1.0) -> Wait:
    """The step's length ±20 %; chance: 0 to 1, random."""
    jitter = 1 + topology.WAIT_JITTER * (2 * chance - 1)
    return Wait(step, topology.WAIT_SECONDS[step] * jitter * scale)


def after_deferral(
    attempt: int,
    now: datetime,
    expires_at: datetime,
    chance: float,
    scale: float = 1.0,
) -> Wait | None:
    """The wait before attempt + 1, or None: no attempt starts after the message's own expiry, and nothing else ends it.

    attempt: from 1, the one that was just deferred. scale shortens the waits, not the deadlines.
    """
    step = STEPS[attempt - 1] if attempt <= len(STEPS) else THEN
    shorter = [each for each in LAST_STEPS if topology.WAIT_SECONDS[each] < topology.WAIT_SECONDS[step]]
    waits = (wait(each, chance, scale) for each in (step, *shorter))
    return next((again for again in waits if again.until(now) < expires_at), None)


def after_unknown(unknowns: int, now: datetime, expires_at: datetime, chance: float, scale: float = 1.0) -> Wait | None:
    """Once more after ten minutes, with the same Message-ID; the second time a person decides.

    unknowns: how often it was unknown before this attempt. Bulk is never asked about: it is held at once.
    """
    again = wait(UNKNOWN_STEP, chance, scale)
    return again if unknowns == 0 and again.until(now) < expires_at else None


def remaining(next_at: datetime, now: datetime) -> Wait:
    """The rest of a wait that had been decided already."""
    seconds = max(0.0, (next_at - now).total_seconds())
    return Wait(topology.wait_step(seconds), seconds)
