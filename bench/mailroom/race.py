"""One contestant, once: from its start to the last mail in the sink, with what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import rig
from local import leash
from local.rabbitmq import Node

POLL_SECONDS = 0.01
STALL_SECONDS = 60  # without a new mail


@dataclass(frozen=True)
class Result:
    mails: int  # while it was measured: from the first one, or a few milliseconds after it, to the last
    seconds: float  # the same
    starting: float  # seconds from the start of the processes to the first mail
    cpu: dict[str, float]  # CPU seconds meanwhile of workers, broker and sink
    idle: float  # seconds that cores of the machine had nothing to do meanwhile, summed over the cores
    source: float  # mails/s of smtp-source, mean of before and after
    finished: bool  # False: stopped at the limit, the rest was left in the queue

    @property
    def rate(self) -> float:
        return self.mails / self.seconds

    def microseconds(self, part: str) -> float:
        """CPU time a mail of one part."""
        return self.cpu[part] / self.mails * 1e6


@dataclass(frozen=True)
class Course:
    """What all contestants share."""

    node: Node
    sink: rig.Sink
    mails: int  # how many wait
    limit: float  # seconds after the first mail at which a slow one is stopped
    calibration: int  # mails of smtp-source


def race(course: Course, start: Callable[[], leash.Leashed], log: Path, limit: float | None = None) -> Result:
    """start: what starts the workers; they are stopped when it returns. Raises TimeoutError if nothing comes."""
    before = rig.calibrate(course.sink, course.calibration)
    base = course.sink.count()
    begun = time.perf_counter()
    workers = start()
    try:
        first_at, _ = _wait(course, workers, base, 1, STALL_SECONDS, log)
        idle, spent = _idle(), _cpu(course, workers)  # takes a while, so the clock and the counter begin after it
        began_at, first = time.perf_counter(), course.sink.count() - base
        last_at, last = _wait(course, workers, base, course.mails, limit or course.limit, log)
        cpu, idle = rig.spent(spent, _cpu(course, workers)), _idle() - idle
    finally:
        workers.stop(40)
    after = rig.calibrate(course.sink, course.calibration)
    return Result(
        mails=last - first,
        seconds=last_at - began_at,
        starting=first_at - begun,
        cpu=cpu,
        idle=idle,
        source=(before + after) / 2,
        finished=last >= course.mails,
    )


def _wait(course: Course, workers: leash.Leashed, base: int, mails: int, limit: float, log: Path) -> tuple[float, int]:
    """Until that many mails have come or the limit is over: (when, how many)."""
    begun = moved = time.perf_counter()
    seen = 0
    while True:
        count = course.sink.count() - base
        now = time.perf_counter()
        if count > seen:
            seen, moved = count, now
        if count >= mails or (count and now - begun > limit):
            return now, count
        if workers.poll() is not None or now - moved > STALL_SECONDS:
            raise TimeoutError(f"{count} of {mails} mails, then nothing more; {log}:\n{_end(log)}")
        time.sleep(POLL_SECONDS)


def _cpu(course: Course, workers: leash.Leashed) -> dict[str, float]:
    return {
        "workers": rig.cpu_seconds(workers.pid),
        "broker": rig.cpu_seconds(course.node.pid),
        "sink": rig.cpu_seconds(course.sink.process.pid),
    }


def _idle() -> float:
    """Idle time and waiting for disks, of all cores since boot; proc(5), /proc/stat."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / rig.TICKS


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
