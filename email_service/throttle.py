"""Who may talk to the server now: a fixed number of connections, shared by the lanes.

Urgent goes first and always finds places that the other lanes may not take, so a mailing never holds a login
code up. A server that says 421 gets half the connections, and one more again after each quiet while.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from shared.lanes import Lane

log = logging.getLogger("throttle")

RESERVED_SHARE = 0.2  # of the connections, for urgent alone
HALVE_AT_MOST_EVERY_SECONDS = 2  # ten connections that get 421 at once are one complaint, not ten
RECOVER_EVERY_SECONDS = 30
RECOVER_AT_LEAST_EVERY_SECONDS = 600  # where more was tried in vain


class GiveBack(Exception):
    """The delivery cannot be started now: the route rests, or the worker stops. Nothing was done for it."""


class Throttle:
    def __init__(self, connections: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = self.limit = connections
        self.in_use = 0
        self.paused = ""  # why the route rests, in words, or empty
        self.one_at_a_time = False  # the route is tried with one message
        self.stopped = False
        self._clock = clock
        self._changed = -1e9
        self._recover_every = float(RECOVER_EVERY_SECONDS)
        self._grew = False  # the last change was one more
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    @contextlib.asynccontextmanager
    async def slot(self, lane: Lane) -> AsyncIterator[None]:
        """One connection's place, urgent first. Raises GiveBack."""
        await self._enter(lane)
        try:
            yield
        finally:
            self.in_use -= 1
            self._let_in()

    def slow_down(self) -> None:
        now = self._clock()
        if self.limit > 1 and now - self._changed >= HALVE_AT_MOST_EVERY_SECONDS:
            self.limit, self._changed = max(1, self.limit // 2), now
            log.warning("the server is busy, fewer connections", extra={"connections": self.limit})

    def full(self, standing: int) -> None:
        """The server takes no more connections than these; more are tried later, and each time in vain later still."""
        now, limit = self._clock(), max(1, min(self.limit, standing))
        if self._grew or now - self._changed >= HALVE_AT_MOST_EVERY_SECONDS:  # several at once are told the same
            self._recover_every = min(self._recover_every * 2, RECOVER_AT_LEAST_EVERY_SECONDS)
        if limit < self.limit:
            log.warning("the server takes no more connections than these", extra={"connections": limit})
        self.limit, self._changed, self._grew = limit, now, False

    def went_well(self) -> None:
        if self.limit < self.most and self._clock() - self._changed >= self._recover_every:
            self.limit, self._changed, self._grew = self.limit + 1, self._clock(), True
            self._let_in()

    def pause(self, reason: str) -> None:
        """Whoever waits gives its delivery back; those under way go on."""
        self.paused = reason
        self._send_away()

    def open(self, one_at_a_time: bool = False) -> None:
        self.paused, self.one_at_a_time = "", one_at_a_time
        self._let_in()

    def stop(self) -> None:
        self.stopped = True
        self._send_away()

    def _room_for(self, lane: Lane) -> bool:
        if self.one_at_a_time:
            return self.in_use == 0
        reserved = max(1, int(self.limit * RESERVED_SHARE)) if self.limit > 1 else 0
        return self.in_use < self.limit - (0 if lane is Lane.urgent else reserved)

    async def _enter(self, lane: Lane) -> None:
        if self.paused or self.stopped:
            raise GiveBack(self.paused or "stopping")
        if self._room_for(lane) and not self._waiting[lane]:
            self.in_use += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.in_use -= 1  # let in and cancelled in the same moment
                self._let_in()
            raise

    def _let_in(self) -> None:
        for lane in Lane:  # urgent, normal, bulk
            waiting = self._waiting[lane]
            while waiting and self._room_for(lane):
                place = waiting.popleft()
                if not place.done():
                    self.in_use += 1
                    place.set_result(None)

    def _send_away(self) -> None:
        for waiting in self._waiting.values():
            while waiting:
                place = waiting.popleft()
                if not place.done():
                    place.set_exception(GiveBack(self.paused or "stopping"))
