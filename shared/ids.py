"""Ids that sort by the time they were made."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_lock = threading.Lock()
_last = 0


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7), strictly rising within a process.

    48 bits of Unix milliseconds, 12 bits of their fraction (section 6.2, method 3), 62 random bits.
    """
    global _last
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    with _lock:
        _last = max(milliseconds << 12 | (rest << 12) // 1_000_000, _last + 1)
        moment = _last
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=moment >> 12 << 80 | 0x7 << 76 | (moment & 0xFFF) << 64 | 0b10 << 62 | random)


def made_at(made: UUID) -> datetime:
    """When, to the microsecond, never after it."""
    milliseconds, fraction = made.int >> 80, made.int >> 64 & 0xFFF
    return _EPOCH + timedelta(milliseconds=milliseconds, microseconds=fraction * 1000 >> 12)


def earliest_id(at: datetime) -> UUID:
    """Sorts before every id that is made from then on; before 1970 there are none."""
    return UUID(int=max(0, (at - _EPOCH) // timedelta(milliseconds=1)) << 80)
