"""A simulated process: its own event loop on simulated time, and everything it has under way with the outside.

What a process asks of the outside (disk, broker, mail server) lies on a line until a step lets it happen, and its
answer lies on another one until a step lets it arrive. So it can be killed between any two of them, and a process
whose steps do not come while time goes on is a frozen one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from tests.model.clock import Clock

Result = TypeVar("Result")
Step = Callable[[], None]


class _NoSockets:
    def select(self, _: float | None) -> list[Any]:
        return []


class Loop(asyncio.BaseEventLoop):
    """Python's own event loop without sockets; it runs only while `drain` is called."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._simulated = clock
        self._selector = _NoSockets()
        self.connect: Callable[[Callable[[], asyncio.Protocol]], Any]

    def time(self) -> float:
        return self._simulated.monotonic()

    def _process_events(self, _: object) -> None:
        pass

    async def create_connection(self, factory: Any, *_: Any, **__: Any) -> Any:
        return await self.connect(factory)

    @property
    def next_timer(self) -> float | None:
        return min((timer._when for timer in self._scheduled if not timer._cancelled), default=None)  # type: ignore[attr-defined]

    def drain(self) -> None:
        """Everything that can go on now goes on."""
        while self._ready or (self._scheduled and self._scheduled[0]._when <= self.time()):  # type: ignore[attr-defined]
            self.stop()
            self.run_forever()


class Process:
    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.alive = name, True
        self.loop = Loop(clock)
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self.problems: list[dict[str, Any]] = []  # defects, of the product or of the model
        self.lines: dict[str, deque[Step]] = {}
        self.channels: list[Any] = []  # tests.model.broker.Channel

    def lay(self, line: str, step: Step) -> None:
        """Steps on one line happen in this order."""
        self.lines.setdefault(line, deque()).append(step)

    async def outside(self, line: str, effect: Callable[[], Result]) -> Result:
        """The effect in one step, what came of it in another."""
        waiter: asyncio.Future[Result] = self.loop.create_future()

        def happen() -> None:
            try:
                result = effect()
            except Exception as problem:
                failure = problem
                self.lay(f"{line} answers", lambda: waiter.done() or waiter.set_exception(failure))
            else:
                self.lay(f"{line} answers", lambda: waiter.done() or waiter.set_result(result))

        self.lay(line, happen)
        return await waiter

    def run(self, steps: int, pick: int = 0) -> int:
        """Up to so many steps; pick: which line goes first. How many there were."""
        for done in range(steps):
            choices = self._choices()
            if not choices:
                self.loop.drain()
                choices = self._choices()
            if not choices:
                return done
            choices[pick % len(choices)]()
            self.loop.drain()
        return steps

    def _choices(self) -> list[Step]:
        self.lines = {line: queue for line, queue in self.lines.items() if queue}
        lines: list[Step] = [lambda queue=queue: queue.popleft()() for queue in self.lines.values()]
        return lines + [channel.take for channel in self.channels if channel.can_take]

    def flush(self, prefix: str, arrive: bool) -> None:
        """What had left on these lines still arrives, or is lost."""
        for line in [line for line in self.lines if line.startswith(prefix)]:
            queue = self.lines.pop(line)
            while arrive and queue:
                queue.popleft()()

    def kill(self, arrive: bool) -> None:
        """arrive: whether what it had written to its sockets still gets there."""
        if not self.alive:
            return
        self.alive = False
        for channel in list(self.channels):
            channel.lose(arrive)
        for line in ("publish", "smtp"):
            self.flush(line, arrive)
        self.end()

    def end(self) -> None:
        """Tidies up; nothing that still happens in here reaches the outside."""
        self.alive = False
        self.lines = {}
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.drain()
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.lines = {}
        self.loop.close()
