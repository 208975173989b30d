"""The whole way: one message to 100,000 people on the bulk lane, from its commit until every state is right.

All processes, the broker and the sink share the machine's cores. Says where each microsecond of CPU went, and with
flames=True draws a flame graph of each process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from bench import rig
from bench.click.accepted import click_to_accepted
from bench.options import Options
from bench.plant import plant, progress
from bench.results import Part, Row

GOAL = 2_000  # mails/s
CLICK_GOAL_MS = 500  # p95 of a person's letter meanwhile
FLAMES = rig.ROOT / "docs" / "benchmarks"
LONGEST_SECONDS = 300


@dataclass
class Run:
    """What one mailing took. cpu: process → CPU seconds; memory: process → MB at the end."""

    mails: int
    seconds: float
    cpu: dict[str, float]
    memory: dict[str, float]
    calibration: float  # mails/s of smtp-source to the same sink, the mean of before and after
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.mails / self.seconds

    def micros(self, name: str) -> float:
        return self.cpu[name] / self.mails * 1e6


@dataclass(frozen=True)
class House:
    """Everything up, and a way to send one mailing through it."""

    product: rig.Product
    database_url: str
    sink: rig.Sink
    pids: Mapping[str, list[int]]

    def send(self, mails: int, meanwhile: Callable[[], None] = lambda: None) -> Run:
        """meanwhile: runs in a thread while the mailing is under way."""
        before = rig.calibrate(self.sink)
        at_start = self.sink.count()
        message = plant(self.database_url, mails)
        cpu = self._cpu()  # dispatch may be a moment ahead; planting is not its work
        begun = time.perf_counter()
        busy = threading.Thread(target=meanwhile)
        busy.start()
        wait_done(self.database_url, message, mails)
        seconds = time.perf_counter() - begun
        spent = rig.spent(cpu, self._cpu())
        busy.join()
        counts = progress(self.database_url, message)
        if counts["accepted"] != mails or counts["planned"] != mails:
            raise AssertionError(f"{mails} were planned, the message says {counts}")
        arrived = self.sink.count() - at_start
        if arrived < mails:
            raise AssertionError(f"the sink has {arrived} of {mails} mails")
        memory = {
            f"{name} {number}" if len(pids) > 1 else name: rig.memory_megabytes(pid)
            for name, pids in self.pids.items()
            for number, pid in enumerate(pids, 1)
        }
        return Run(mails, seconds, spent, memory, (before + rig.calibrate(self.sink)) / 2)

    def _cpu(self) -> dict[str, float]:
        return {name: sum(rig.cpu_seconds(pid) for pid in pids) for name, pids in self.pids.items()}


def wait_done(database_url: str, message: UUID, mails: int) -> None:
    """Asks four times a second, so that asking costs nothing that shows."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while progress(database_url, message)["accepted"] < mails:
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {LONGEST_SECONDS} s: {progress(database_url, message)}")
        time.sleep(0.25)


@contextlib.contextmanager
def house(kind: str, **settings: object) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posthaste-bench-")))
        folder.chmod(0o755)  # the sink runs as nobody
        node = stack.enter_context(rig.broker(folder))
        url, database = stack.enter_context(rig.database(kind, folder))
        sink = stack.enter_context(rig.sink(folder))
        product = stack.enter_context(rig.product(folder / "data", url, node.amqp_url, sink.url, **settings))
        product.start("dispatch", "mailroom", "web")
        room = rig.descendants(product.parts["mailroom"].pid)
        pids = {
            "dispatch": [product.parts["dispatch"].pid],
            "workers": room[1:],
            "supervisor": room[:1],
            "broker": [node.pid],
            "sink": [sink.process.pid],
            "web": [product.parts["web"].pid],
        }
        if database is not None:
            pids["database"] = [database]
        yield House(product, url, sink, _alone(pids))


def _alone(pids: dict[str, list[int]]) -> dict[str, list[int]]:
    """The supervisor's descendants are the workers: count them once."""
    pids.pop("supervisor")
    return pids


# ---- the part --------------------------------------------------------------------------------------------------


def run(options: Options) -> Part:
    mails = 3_000 if options.quick else 100_000
    part = Part("whole")
    for kind in options.databases:
        with house(kind) as made:
            made.send(2_000)  # connections and caches are warm
            runs = [made.send(mails) for _ in range(1 if options.quick else options.rounds)]
            median = sorted(runs, key=lambda one: one.rate)[len(runs) // 2]
            part.rows.append(_rate_row(kind, median, runs))
            part.rows.append(_cpu_row(kind, median))
            part.rows.append(_click_row(kind, made, mails, letters=10 if options.quick else 100))
            part.notes.append(f"{kind}: memory in MB at the end: {_listed(median.memory)}.")
            part.notes.append(_floor(kind, median))
            if not options.quick and kind == "sqlite":
                flames(made)
    return part


def _rate_row(kind: str, median: Run, runs: list[Run]) -> Row:
    figures = {
        "mails/s": median.rate,
        "slowest": min(one.rate for one in runs),
        "fastest": max(one.rate for one in runs),
        "of smtp-source": median.rate / median.calibration,
    }
    met = median.rate >= GOAL
    why = "" if met else f"a mail cost {sum(map(median.micros, median.cpu)):,.0f} µs of CPU: {_machine(runs)}"
    return Row(f"{median.mails:,} deliveries, {kind}", figures, f"{GOAL:,} mails/s", met, why)


def _cpu_row(kind: str, median: Run) -> Row:
    figures = {name: median.micros(name) for name in median.cpu}
    return Row(f"µs of CPU per mail, {kind}", figures | {"sum": sum(figures.values())})


def _click_row(kind: str, made: House, mails: int, letters: int) -> Row:
    """Letters of people, one after the other, while a mailing of the same size goes out."""
    times: list[float] = []
    run = made.send(mails, lambda: times.extend(click_to_accepted(made.product, letters)))
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    figures = {"p50 ms": cuts[49], "p95 ms": cuts[94], "p99 ms": cuts[98], "letters": len(times)}
    met = cuts[94] <= CLICK_GOAL_MS
    goal, result = f"p95 {CLICK_GOAL_MS} ms", f"p95 {cuts[94]:.0f} ms"
    why = f"it waits for its turn on cores that send {run.rate:,.0f} mails/s meanwhile: {_machine([run])}"
    return Row(f"click to accepted under load, {kind}", figures, goal, met, "" if met else why, result)


def _machine(runs: list[Run]) -> str:
    """What it gave to others while we ran; it is not the same from one minute to the next."""
    speeds = [one.calibration for one in runs]
    busy = statistics.median(sum(one.cpu.values()) / one.seconds for one in runs)
    return (
        f"{busy:.2f} of {os.cpu_count()} cores were busy, and smtp-source, in C and by itself, made "
        f"{min(speeds):,.0f} to {max(speeds):,.0f} mails/s before and after"
    )


def _floor(kind: str, median: Run) -> str:
    cores = os.cpu_count() or 1
    busy = sum(median.cpu.values()) / median.seconds
    ours = median.micros("dispatch") + median.micros("workers")
    others = [name for name in ("database", "broker", "sink") if name in median.cpu]
    rest = sum(map(median.micros, others))
    return (
        f"{kind}: {busy:.2f} of {cores} cores were busy. Of a mail's CPU {ours:.0f} µs are our Python and {rest:.0f} "
        f"µs {', '.join(others)}, which take what they take: without any Python the same cores would end at "
        f"{cores / rest * 1e6:,.0f} mails/s."
    )


def _listed(memory: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {size:.0f}" for name, size in memory.items())


def flames(house: House, mails: int = 20_000) -> None:
    """docs/benchmarks/flame-<process>.svg, by py-spy."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        rig.say("no py-spy: no flame graphs")
        return
    FLAMES.mkdir(parents=True, exist_ok=True)
    targets = {"dispatch": house.pids["dispatch"][0], "worker": house.pids["workers"][0]}
    message = plant(house.database_url, mails)
    spies = [
        subprocess.Popen(
            [spy, "record", "-r", "100", "-d", "8", "-o", str(FLAMES / f"flame-{name}.svg"), "-p", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, pid in targets.items()
    ]
    wait_done(house.database_url, message, mails)
    for each in spies:
        each.wait(60)
    for name in targets:  # py-spy writes its own command line into the picture
        picture = FLAMES / f"flame-{name}.svg"
        picture.write_text(picture.read_text().replace(f"{Path(spy).parent}/", "").replace(f"{FLAMES}/", ""))
