"""How many letters one person or API key may send in a minute.

Counted in memory, so that a click costs no statement for it: several web processes each count for themselves, and a
restart forgives. A key that was stolen, or a program that runs wild, meets it; work does not.
"""

import math
import time
from collections.abc import Callable

from crm_api.errors import TooMany

MINUTE = 60.0
MOST_KNOWN = 10_000
ROUNDING = 1e-6


class SendThrottle:
    """Whoever has been quiet for a minute may send a minute's worth at once; it comes back evenly."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._free_at: dict[str, float] = {}  # scope → when it will have nothing to its debit any more

    def take(self, scope: str, recipients: int) -> None:
        """Counts them, or raises TooMany and counts nothing. The last message may go over the limit, so that one with
        more recipients than a minute has can be sent at all; what is over is waited for afterwards."""
        if not self._per_minute:
            return
        at, each = self._clock(), MINUTE / self._per_minute
        free_at = max(at, self._free_at.get(scope, at))
        if (too_early := free_at + each - MINUTE - at) > ROUNDING:
            raise TooMany(
                f"More than {self._per_minute:,} recipients in a minute. Nothing was sent; try again in a moment.",
                math.ceil(too_early),
            )
        if len(self._free_at) >= MOST_KNOWN:
            self._free_at = {each: until for each, until in self._free_at.items() if until > at}
        self._free_at[scope] = free_at + recipients * each
