"""The real parts that benchmarks run against, all on loopback and all ended with the benchmark.

``smtp-sink`` and ``smtp-source`` are Postfix's own test programs, in C: what they cost is not what is measured.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from local import debian, leash, ports
from local.postgresql import Cluster
from local.product import KEY, Product, running
from local.rabbitmq import Node

__all__ = ["KEY", "Product"]

ROOT = Path(__file__).resolve().parents[1]
_MESSAGES = re.compile(rb"mesg=(\d+)\r")
TICKS = os.sysconf("SC_CLK_TCK")


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def wait_until(reached: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Asks twenty times a second; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


# ---- SMTP ------------------------------------------------------------------------------------------------------


def _postfix(program: str) -> tuple[str, dict[str, str]]:
    installed = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if installed:
        return installed, {}
    root = debian.unpacked("postfix", own=r"^postfix$", say=say)
    return str(root / "usr/sbin" / program), {"LD_LIBRARY_PATH": debian.library_path(root)}


@dataclass
class Sink:
    """Takes every mail at once and throws it away; its counter says how many there were."""

    port: int
    process: leash.Leashed
    counted: Path

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    def count(self) -> int:
        """Mails since the start. smtp-sink writes `sess=… quit=… mesg=…` after each, ended by CR."""
        found = _MESSAGES.findall(_tail(self.counted))
        return int(found[-1]) if found else 0


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        return file.read()


@contextlib.contextmanager
def sink(folder: Path, *, delay_seconds: int = 0) -> Iterator[Sink]:
    program, environment = _postfix("smtp-sink")
    port = ports.free_port()
    counted = folder / f"sink-{port}.count"
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    delay = ["-w", str(delay_seconds)] if delay_seconds else []
    with counted.open("wb") as output:
        process = leash.start(
            [program, *user, *delay, "-c", f"127.0.0.1:{port}", "1000"], env=os.environ | environment, stdout=output
        )
    try:
        wait_until(lambda: not ports.is_free(port), "smtp-sink", 10)
        yield Sink(port, process, counted)
    finally:
        process.stop(5)


def calibrate(sink: Sink, mails: int = 20_000, size: int = 1500, connections: int = 10) -> float:
    """Mails/s of smtp-source, in C, over kept connections: what the machine gives at this moment."""
    program, environment = _postfix("smtp-source")
    begun = time.perf_counter()
    subprocess.run(
        [program, "-d", "-s", str(connections), "-m", str(mails), "-l", str(size), f"127.0.0.1:{sink.port}"],
        env=os.environ | environment,
        check=True,
        timeout=300,
    )
    return mails / (time.perf_counter() - begun)


# ---- broker and database ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[Node]:
    node = Node(folder / "rabbitmq", say=say)
    node.start()
    try:
        yield node
    finally:
        node.kill()


class Store(NamedTuple):
    """An empty database. pid: of its server, if it has one."""

    url: str
    pid: int | None = None


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[Store]:
    """kind: "sqlite" or "postgresql"."""
    if kind == "sqlite":
        yield Store(f"sqlite:///{folder / 'posthaste.sqlite'}")
        return
    cluster = Cluster(say=say, durable=True)
    cluster.start()
    try:
        yield Store(cluster.url, cluster.pid)
    finally:
        cluster.stop()


# ---- the product -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def product(folder: Path, database_url: str, amqp_url: str, smtp_url: str, **settings: object) -> Iterator[Product]:
    """Migrated, nothing started. settings: workers=2 becomes POSTHASTE_WORKERS=2."""
    given = {"database_url": database_url, "amqp_url": amqp_url, "smtp_url": smtp_url} | settings
    with running(Product, folder, **given) as made:
        yield made


# ---- what it costs ---------------------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """The process and everything below it. Linux only."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and everything below it that runs."""
    total = 0
    for each in descendants(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_megabytes(pid: int) -> float:
    """Resident memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_megabytes(pid: int) -> float:
    """The most resident memory that one process has ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before.get(name, 0.0) for name in after}
