"""Figures that take long are remembered for twenty times as long as they took.

So a small house is told the truth of this moment, and a large one spends at most a twentieth of its time counting.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlmodel import Session

T = TypeVar("T")

TIMES = 20
CHEAP = 0.05  # seconds; what takes no longer is asked every time, so that an event is never answered with old news
AT_MOST = 5.0  # seconds


class Remembered(Generic[T]):
    """One memory for each database. Safe to use from several threads: one asks, the others wait for its answer."""

    def __init__(self, cheap: float = CHEAP) -> None:
        """cheap: seconds; what takes no longer is not remembered."""
        self._cheap = cheap
        self._lock = threading.Lock()
        self._answers: WeakKeyDictionary[Any, dict[str, tuple[float, T]]] = WeakKeyDictionary()

    def get(self, session: Session, key: str, ask: Callable[[], T]) -> T:
        with self._lock:
            answers = self._answers.setdefault(session.get_bind().engine, {})
            found = answers.get(key)
            if found is None or time.monotonic() > found[0]:
                began = time.monotonic()
                answer = ask()
                ended = time.monotonic()
                took = ended - began
                found = answers[key] = (ended + min(took * TIMES, AT_MOST) if took > self._cheap else 0.0, answer)
            return found[1]
