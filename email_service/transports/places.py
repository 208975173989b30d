"""How many connections a server lets us have (Exim: 3 a host, others 10 or 20). Nobody tells, so it is learned.

A server that turns a connection away while others of ours stand is not away, it has no further place for us. The
message waits until one of those is free. Other workers of this machine share the places: who finds none leaves a sign
for them, and for a while nobody keeps a connection that it does not use.
"""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from email_service.outcome import Verdict

SCARCE_SECONDS = 60.0
SCARCE_IDLE_SECONDS = 1.0
_CROWDED = re.compile(
    r"\btoo many\b.*\b(?:connections?|sessions?|clients?|processes|users)\b|\bconcurrent\b|"
    r"\b(?:connections?|sessions?)\b.*\b(?:limit|exceeded|maximum|max)\b|\b(?:limit|maximum|max)\b.*\bconnections?\b|"
    r"\bno more connections?\b",
    re.IGNORECASE | re.DOTALL,
)


class NoPlace(Exception):
    """The server takes no further connection for now. standing: those of ours that it has taken."""

    def __init__(self, verdict: Verdict, standing: int) -> None:
        super().__init__(verdict.reason)
        self.verdict, self.standing = verdict, standing


def is_crowded(verdict: Verdict) -> bool:
    """Whether the server says that it has too many connections: ours, or those of somebody else at our address."""
    turned_away = verdict.phase == "greeting" and verdict.code is not None and verdict.code < 600
    return turned_away and bool(_CROWDED.search(verdict.reply or ""))


class Places:
    """sign: a file that the workers of one machine see."""

    def __init__(self, sign: Path) -> None:
        self._sign = sign
        self._seen = self._signed_at()
        self._scarce_until = float("-inf")
        self.talking = self._opening = 0  # connections that the server has taken and that are in use; that it may take
        self._news = asyncio.Event()

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
            self._news.set()
            self._news = asyncio.Event()

    async def settled(self) -> None:
        """Returns when it is clear whether the server serves others of ours."""
        while self._opening and not self.talking:
            await self._news.wait()

    def found_none(self) -> None:
        """For the other workers, and for ourselves."""
        self._scarce_until = time.monotonic() + SCARCE_SECONDS
        with contextlib.suppress(OSError):
            self._sign.parent.mkdir(parents=True, exist_ok=True)
            self._sign.touch()
            os.utime(self._sign)
        self._seen = self._signed_at()

    def idle_seconds(self, usual: float) -> float:
        """How long an unused connection may be kept at the moment. Looks for the sign: not for every message."""
        signed_at = self._signed_at()
        if signed_at != self._seen:
            self._seen, self._scarce_until = signed_at, time.monotonic() + SCARCE_SECONDS
        return min(usual, SCARCE_IDLE_SECONDS) if time.monotonic() < self._scarce_until else usual

    def _signed_at(self) -> int:
        try:
            return self._sign.stat().st_mtime_ns
        except OSError:
            return 0
