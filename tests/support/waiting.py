"""Wait for a condition instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, *, seconds: float = 30.0, every: float = 0.05) -> T:
    """Ask until the answer is true; the answer is returned. ``what`` names it in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what} (last answer: {answer!r})")
        time.sleep(every)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, *, seconds: float = 30.0, every: float = 0.05
) -> T:
    """``wait_until`` for a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what} (last answer: {answer!r})")
        await asyncio.sleep(every)
