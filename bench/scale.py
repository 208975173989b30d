"""Scale out: more worker processes, two mail rooms, a second dispatcher, a cluster; where it stops, and at what.

Every house gets the same message on the bulk lane. The CPU of each process says what holds it up: one that has used
a whole core is the limit, and if none has, all cores together are.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from bench import rig
from bench.cluster import RabbitCluster, cluster
from bench.options import Options
from bench.plant import plant, progress
from bench.results import Part, Row
from local.rabbitmq import Node

FULL = 0.9  # a process that has used so much of a core is held up by it
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Way:
    """One way to set the house up."""

    name: str
    workers: int = 2
    rooms: int = 1
    dispatchers: int = 1
    clustered: bool = False
    only: str = ""  # a kind of database


WAYS = (
    Way("1 worker process", workers=1),
    Way("2 worker processes", workers=2),
    Way("4 worker processes", workers=4),
    Way("2 mail rooms of 1 worker", workers=1, rooms=2),
    Way("2 mail rooms of 2 workers", workers=2, rooms=2),
    Way("2 dispatchers, 2 workers", dispatchers=2, only="postgresql"),  # SQLite has one writer
    Way("cluster of 3 nodes, 2 workers", clustered=True),
)


@dataclass
class Run:
    """cores: process → how many cores it used on average."""

    rate: float
    cores: dict[str, float]


@dataclass
class Found:
    runs: list[Run] = field(default_factory=list)

    @property
    def median(self) -> Run:
        return sorted(self.runs, key=lambda run: run.rate)[len(self.runs) // 2]


def run(options: Options) -> Part:
    mails, rounds = (1_000, 1) if options.quick else (10_000, options.rounds)
    part = Part("scale")
    for kind in options.databases:
        found = _measure(kind, mails, rounds)
        base = statistics.median(run.rate for run in found[WAYS[1]].runs)
        part.rows += [_row(way, kind, each, base) for way, each in found.items()]
    part.notes.append(
        f"One message with {mails:,} deliveries on the bulk lane, {rounds} times each in turn, the median. "
        f"Figures of processes are cores: 1.00 is a whole core, and there are {CORES}. Two mail rooms share one ledger "
        "(a file on one machine, PostgreSQL where there are several). The cluster's nodes are on this machine, too: "
        "it costs what three copies cost and gains no machine."
    )
    return part


def _measure(kind: str, mails: int, rounds: int) -> dict[Way, Found]:
    """Each round goes through all ways: what the machine does in one minute is not one way's luck."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posthaste-bench-")))
        folder.chmod(0o755)  # the sink runs as nobody
        ways = [way for way in WAYS if way.only in ("", kind)]
        found = {way: Found() for way in ways}
        sink = stack.enter_context(rig.sink(folder))
        url = stack.enter_context(rig.database(kind, folder)).url
        ledger = f"sqlite:///{folder / 'ledger.sqlite'}" if kind == "sqlite" else _new_database(url, "ledger")
        house = House(folder / "home", url, ledger, sink)
        # one broker at a time: an idle cluster is not idle
        for clustered in (False, True):
            with _broker(folder, clustered) as broker:
                for number in range(rounds):
                    for way in ways:
                        if way.clustered == clustered:
                            rig.say(f"scale, {kind}, round {number + 1}: {way.name}")
                            found[way].runs.append(_once(house, way, broker, mails))
        return found


@contextlib.contextmanager
def _broker(folder: Path, clustered: bool) -> Iterator[Node | RabbitCluster]:
    if clustered:
        with cluster(folder / "cluster", say=rig.say) as made:
            yield made
    else:
        with rig.broker(folder) as node:
            yield node


def _new_database(url: str, name: str) -> str:
    """Beside the other in the same cluster; PostgreSQL only."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{url.rpartition('/')[0]}/{name}"


def _postmaster(url: str) -> int:
    """The pid of the server behind the URL."""
    with psycopg.connect(url) as connection:
        return int(Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()[1])


@dataclass(frozen=True)
class House:
    """What all ways have in common."""

    folder: Path
    database_url: str
    ledger_url: str
    sink: rig.Sink

    @contextlib.contextmanager
    def up(self, way: Way, broker: Node | RabbitCluster) -> Iterator[dict[str, int]]:
        """Process → pid. Every part has a data directory of its own, as on a machine of its own."""
        with contextlib.ExitStack() as stack:

            def parts(name: str, count: int) -> list[int]:
                made = [stack.enter_context(self._product(f"{name}-{n}", way, broker)) for n in range(1, count + 1)]
                for each in made:
                    each.start(name)
                return [each.parts[name].pid for each in made]

            dispatchers, rooms = parts("dispatch", way.dispatchers), parts("mailroom", way.rooms)
            workers = [pid for room in rooms for pid in rig.descendants(room)[1:]]
            assert len(workers) == way.rooms * way.workers
            brokers = broker.pids() if isinstance(broker, RabbitCluster) else [broker.pid]
            pids = {
                f"{name} {number}": pid
                for name, its in (("dispatch", dispatchers), ("worker", workers), ("broker", brokers))
                for number, pid in enumerate(its, 1)
            }
            if self.database_url.startswith("postgresql"):
                pids["database"] = _postmaster(self.database_url)
            yield pids | {"sink": self.sink.process.pid}

    def _product(
        self, name: str, way: Way, broker: Node | RabbitCluster
    ) -> contextlib.AbstractContextManager[rig.Product]:
        settings = {"workers": way.workers, "room": name, "ledger_url": self.ledger_url}
        return rig.product(self.folder / name, self.database_url, broker.amqp_url, self.sink.url, **settings)


def _once(house: House, way: Way, broker: Node | RabbitCluster, mails: int) -> Run:
    with house.up(way, broker) as pids:
        _send(house.database_url, mails // 10)  # connections and caches are warm
        before = {name: rig.cpu_seconds(pid) for name, pid in pids.items()}
        seconds = _send(house.database_url, mails)
        after = {name: rig.cpu_seconds(pid) for name, pid in pids.items()}
    return Run(mails / seconds, {name: cpu / seconds for name, cpu in rig.spent(before, after).items()})


def _send(url: str, mails: int) -> float:
    """Seconds from the commit until all are accepted."""
    message = plant(url, mails)
    begun = time.perf_counter()
    rig.wait_until(lambda: progress(url, message)["accepted"] == mails, f"{mails} mails", 280)
    return time.perf_counter() - begun


# ---- the table -------------------------------------------------------------------------------------------------

_KINDS = ("dispatch", "worker", "broker", "database", "sink")


def _row(way: Way, kind: str, found: Found, base: float) -> Row:
    run = found.median
    figures = {
        "mails/s": run.rate,
        "beside 2 workers": run.rate / base,
    }
    for each in _KINDS:
        if its := [cores for name, cores in run.cores.items() if name.startswith(each)]:
            figures[f"{each}, cores"] = sum(its)
    figures["all, cores"] = sum(run.cores.values())
    return Row(f"{way.name}, {kind}", figures, why=_limit(run))


def _limit(run: Run) -> str:
    """What holds it up."""
    full = [f"{name} uses {cores:.2f} of one core" for name, cores in run.cores.items() if cores >= FULL]
    full = [words for words in full if not words.startswith(("broker", "database"))]  # they use all cores
    together = sum(run.cores.values())
    if together >= FULL * CORES:
        full.append(f"all {CORES} cores are used: {together:.2f}")
    name, most = max(run.cores.items(), key=lambda pair: pair[1])
    return "; ".join(full) or f"{together:.2f} of {CORES} cores used, most by {name} ({most:.2f})"
