"""Loaded by every Python that runs under libfaketime (drill/faults/clock.py).

libfaketime 0.9.10 that leaves the monotonic clock alone calls clock_nanosleep, which time.sleep uses, with a time that
it has not set: it sleeps for any while, or fails with EINVAL.
"""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep  # type: ignore[assignment]
