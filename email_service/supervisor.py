"""Starts the workers of a mail room, starts them again when they die or stand still, and stops them.

Two things make a kill -9 of anything harmless. A worker's end closes nothing in the ledger, so the supervisor
does: it marks the dead one's leases as expired, and redelivered commands need not wait for them. And one lock a
room and data directory is held by the supervisor and, inherited, by each of its workers: a new supervisor gets
it only when all of them are gone, so it can never take a living worker's deliveries for a dead one's.

A worker that stands still may hold the ledger's file, and then all others wait for it: it is killed.
"""

import asyncio
import fcntl
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from email_service.ledger import Ledger
from email_service.settings import MailRoomSettings
from shared.settings import SettingsError
from shared.tasks import deaths, run_forever, run_once
from shared.telemetry import give_signs_of_life, mark_ready

log = logging.getLogger("supervisor")
Result = TypeVar("Result")

LONGEST_PAUSE_SECONDS = 30  # before a worker that keeps dying is started again
STEADY_SECONDS = 60  # one that lived so long starts with a clean sheet
LOCK_PATIENCE_SECONDS = 60
STOP_MARGIN_SECONDS = 15  # beyond the workers' own time for draining
LEDGER_PATIENCE_SECONDS = 5  # at the end, for a ledger that is away: the next start does what is left
CLEAN_EVERY_SECONDS = 600
DAY_SECONDS = 86_400


class RoomTaken(SystemExit):
    """Another mail room of this name runs on this data directory."""


class _Stopped(Exception):
    """We were told to end, and what we waited for had not come."""


@dataclass
class _Place:
    """One of the numbered workers; processes come and go in it."""

    number: int
    process: asyncio.subprocess.Process | None = None


class Supervisor:
    def __init__(self, settings: MailRoomSettings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._lock = -1
        self._ledger = Ledger(settings.ledger, settings.owner("supervisor"))
        self._places = [_Place(number) for number in range(1, settings.workers + 1)]

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        if not await self._take_lock():
            return
        try:
            await self._unless_stopped(self._ledger.open())
            if left := await self._unless_stopped(self._ledger.expire(self._settings.owner(""))):
                log.warning("deliveries were left behind by an earlier mail room", extra={"count": left})
        except _Stopped:
            log.warning("the ledger is away, and the mail room ends before it has begun")
            await self._ledger.close()
            os.close(self._lock)
            return
        for marker in (self._ready, *(self._marker(place.number) for place in self._places)):
            marker.unlink(missing_ok=True)  # of a life that was killed
        deaths().on_first(lambda _: self._stop.set())
        helpers = [
            run_forever(self._say_ready(), "signs of life"),
            run_forever(self._clean(), "cleaning of the ledger"),
        ]
        await asyncio.gather(*(self._keep(place) for place in self._places))
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await self._ledger.close()
        self._ready.unlink(missing_ok=True)
        os.close(self._lock)
        log.info("mail room ended")
        if names := deaths().names:
            sys.exit(f"The mail room ended because it had lost a part: {names[0]}")

    # ---- workers -------------------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> None:
        """Returns when the worker has ended after a stop was asked for."""
        deaths = 0
        while not self._stop.is_set():
            # the random part makes each incarnation somebody else to the ledger
            owner = self._settings.owner(f"{place.number}:{uuid4().hex}")
            began = time.monotonic()
            process = place.process = await self._start(place.number, owner)
            code = await self._until_end(place.number, process)
            try:
                await self._unless_stopped(self._ledger.expire(owner))
            except _Stopped:
                log.warning("the ledger is away: the next start sees to what worker %d left", place.number)
            self._marker(place.number).unlink(missing_ok=True)
            if self._stop.is_set():
                break
            deaths = 1 if time.monotonic() - began > STEADY_SECONDS else deaths + 1
            pause = min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(deaths, 10))
            log.error(
                "a worker died, starting another",
                extra={"worker": place.number, "pid": process.pid, "code": code, "in_seconds": pause},
            )
            await self._stopped_within(pause)

    async def _start(self, number: int, owner: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "email_service", "worker", str(number)),
            *("--owner", owner),
            stdin=asyncio.subprocess.PIPE,  # its end tells the worker that we are gone
            pass_fds=(self._lock,),
        )

    async def _until_end(self, number: int, process: asyncio.subprocess.Process) -> int:
        ended = run_once(process.wait(), f"worker {number}")
        stopped = run_once(self._stop.wait(), "stop")
        frozen = run_once(self._until_frozen(number), f"signs of life of worker {number}", vital=True)
        try:
            await asyncio.wait({ended, stopped, frozen}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and not frozen.done():
                process.send_signal(signal.SIGTERM)
                patience = self._settings.drain_seconds + STOP_MARGIN_SECONDS
                await asyncio.wait({ended}, timeout=patience)
            if not ended.done():
                why = "stands still" if frozen.done() else "does not end"
                log.error("a worker %s, killed", why, extra={"worker": number, "pid": process.pid})
                process.kill()
            return await ended
        finally:
            stopped.cancel()
            frozen.cancel()

    async def _until_frozen(self, number: int) -> None:
        """Returns when the worker has touched its marker for so many of our own seconds not once: if the whole machine
        stood still, so did we."""
        last, silent = 0, 0
        while silent < self._settings.frozen_seconds:
            await asyncio.sleep(1)
            try:
                sign = self._marker(number).stat().st_mtime_ns
            except OSError:  # not up yet, or about to end
                sign = 0
            silent = silent + 1 if sign and sign == last else 0
            last = sign

    # ---- the room ------------------------------------------------------------------------------------------

    async def _take_lock(self) -> bool:
        """Waits for the workers of a supervisor that was killed, which finish their conversations first.

        False: we were told to stop meanwhile. Raises RoomTaken.
        """
        settings = self._settings
        name = re.sub(r"[^A-Za-z0-9._-]", "_", settings.room_name)
        path = settings.data_dir / f"mailroom-{name}.lock"
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise SettingsError(f"POSTHASTE_DATA_DIR: {path} cannot be made: {problem.strerror}.") from None
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if await self._stopped_within(0.2):
                    return False
                if time.monotonic() > deadline:
                    raise RoomTaken(
                        f"A mail room called {settings.room_name} already runs on {settings.data_dir}. "
                        "Stop it, or give this one another name with POSTHASTE_ROOM."
                    ) from None

    async def _unless_stopped(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Waits as long as it takes, but after a stop only a little while. Raises _Stopped."""
        working, stopped = run_once(work, "ledger"), run_once(self._stop.wait(), "stop")
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not working.done():
            await asyncio.wait({working}, timeout=LEDGER_PATIENCE_SECONDS)
        if working.done():
            return working.result()
        working.cancel()
        raise _Stopped

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    @property
    def _ready(self) -> Path:
        return self._settings.data_dir / "ready" / "mailroom"

    def _marker(self, number: int) -> Path:
        return self._settings.data_dir / "ready" / f"mailroom-{number}"

    async def _say_ready(self) -> None:
        while not all(self._marker(place.number).exists() for place in self._places):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        marker = mark_ready(self._settings, "mailroom")
        log.info("mail room is up", extra={"room": self._settings.room_name, "workers": len(self._places)})
        await give_signs_of_life(marker)

    async def _clean(self) -> None:
        """Forgets what is long finished. Ids begin with the time they were made: only the oldest are looked at."""
        while True:
            before = time.time() - self._settings.ledger_days * DAY_SECONDS
            newest = f"{int(before * 1000):012x}"
            forgotten = await self._ledger.forget(f"{newest[:8]}-{newest[8:]}", before)
            if forgotten:
                log.info("the ledger forgot finished deliveries", extra={"count": forgotten})
            await asyncio.sleep(CLEAN_EVERY_SECONDS)
