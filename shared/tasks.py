"""Tasks and threads that somebody watches: one that ends without being told to is never only a line in a log.

`run_forever` is for what a process lives by: its end is that of the process (see `Deaths`), which its supervisor or
service manager starts again. `run_once` is for what ends by itself: whoever keeps it awaits it, and an error that
nobody asks for is logged by asyncio; a vital one ends the process by an error, too. Both keep the task from being
collected while it runs. No task or thread of the product is made in another way.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("tasks")

Result = TypeVar("Result")


class Deaths:
    """What has ended by itself in this event loop, and should not have."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.names: list[str] = []
        self.running: set[asyncio.Task[Any]] = set()  # the event loop itself holds its tasks only weakly
        self._loop = loop
        self._first = asyncio.Event()
        self._calls: list[Callable[[str], None]] = []

    def on_first(self, call: Callable[[str], None]) -> None:
        """Calls it in the event loop with the name of the first one."""
        self._calls.append(call)
        if self.names:
            call(self.names[0])

    async def wait(self) -> str:
        """Returns the name of the first one, once there is one."""
        await self._first.wait()
        return self.names[0]

    def note(self, name: str, problem: BaseException | None) -> None:
        log.critical("%s ended by itself: this process can do its work no longer", name)
        context: dict[str, Any] = {"message": f"{name} ended by itself"}
        self._loop.call_exception_handler(context | ({"exception": problem} if problem else {}))
        self.names.append(name)
        if not self._first.is_set():
            self._first.set()
            for call in self._calls:
                call(name)


def _deaths_of(loop: asyncio.AbstractEventLoop) -> Deaths:
    """Kept with the loop, and gone with it: a process has one, its tests have many."""
    if (found := vars(loop).get(_KEPT_AS)) is None:
        found = vars(loop)[_KEPT_AS] = Deaths(loop)
    assert isinstance(found, Deaths)
    return found


_KEPT_AS = "posthaste_deaths"


def deaths() -> Deaths:
    """Those of the running event loop."""
    return _deaths_of(asyncio.get_running_loop())


def run_forever(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Until it is cancelled; if it returns or raises, the process has lost a part."""
    task, noted = _start(work, name), deaths()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            noted.note(name, task.exception())

    task.add_done_callback(ended)
    return task


def run_once(work: Coroutine[Any, Any, Result], name: str, *, vital: bool = False) -> asyncio.Task[Result]:
    """vital: it may end well, but without what it does the process is of no use."""
    task = _start(work, name)
    if vital:
        noted = deaths()

        def ended(task: asyncio.Task[Result]) -> None:
            if not task.cancelled() and (problem := task.exception()) is not None:
                noted.note(name, problem)

        task.add_done_callback(ended)
    return task


def _start(work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
    loop = asyncio.get_running_loop()
    running = _deaths_of(loop).running
    task = loop.create_task(work, name=name)
    running.add(task)
    task.add_done_callback(running.discard)
    return task


class WatchedThread(threading.Thread):
    """A thread that a process lives by: if its work raises, that is noted among the deaths of `loop`."""

    def __init__(self, work: Callable[[], None], name: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._loop, self._noted = work, loop, _deaths_of(loop)

    def run(self) -> None:
        try:
            self._work()
        except BaseException as problem:
            try:
                self._loop.call_soon_threadsafe(self._noted.note, self.name, problem)
            except RuntimeError:  # the event loop is closed: the process is at its end anyway
                log.exception("%s failed while the process was ending", self.name)
