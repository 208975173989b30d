"""Growth: the same work with 1,000 to 1,000,000 customers and finished deliveries in the house.

Two houses stand side by side on one broker and one sink: one grows, the other stays at the smallest size. Each rate
is measured in both, one after the other, so that what the machine does at that moment cancels out.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import psycopg

from bench import rig
from bench.options import Options
from bench.people import person
from bench.plant import plant, progress
from bench.results import Part, Row
from bench.seed import Seed

MEMORY_GOAL, PAGE_GOAL, RATE_GOAL = 200, 100, 0.9
PARTS = ("web", "dispatch", "mailroom")
WHY_SLOW = {
    "/customers?q=<first and last name>": "Each of the two words is some ten thousand customers': all entries of both "
    "are read and intersected.",
}


@dataclass
class House:
    product: rig.Product
    database_url: str
    seed: Seed
    size: int = 0

    def grow(self, size: int) -> None:
        """Ends with everything up."""
        if self.product.parts:
            self.product.stop()
        self.seed.grow(self.size, size)
        self.size = size
        self.product.start(*PARTS)

    def pids(self) -> dict[str, list[int]]:
        parts = {name: part.pid for name, part in self.product.parts.items()}
        workers = rig.descendants(parts["mailroom"])[1:]
        return {"web": [parts["web"]], "dispatch": [parts["dispatch"]], "workers": workers}

    def send(self, mails: int) -> Sent:
        """One message on the bulk lane to customers from everywhere in the table; taken out again in the end."""
        customers = [self.seed.customer(number * self.size // mails) for number in range(mails)]
        before = self._cpu()
        message = plant(self.database_url, mails, customers=customers)
        begun = time.perf_counter()
        rig.wait_until(lambda: progress(self.database_url, message)["accepted"] == mails, f"{mails} mails", 120)
        seconds = time.perf_counter() - begun
        spent = rig.spent(before, self._cpu())
        self.seed.remove(message)
        return Sent(mails / seconds, {name: cpu / mails * 1e6 for name, cpu in spent.items()})

    def _cpu(self) -> dict[str, float]:
        return {name: sum(rig.cpu_seconds(pid) for pid in pids) for name, pids in self.pids().items()}

    def memory(self) -> dict[str, float]:
        """The most that each has had since its start, MB; of the workers the largest."""
        return {name: max(rig.peak_megabytes(pid) for pid in pids) for name, pids in self.pids().items()}


@dataclass(frozen=True)
class Sent:
    """rate: mails/s. micros: process → µs of CPU per mail."""

    rate: float
    micros: dict[str, float]


@dataclass
class Figures:
    """At one size. pages: words for the page → milliseconds of each GET."""

    grown: list[Sent] = field(default_factory=list)
    small: list[Sent] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    pages: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return statistics.median(sent.rate for sent in self.grown)

    @property
    def beside(self) -> float:
        """Rate of the grown house by that of the small one, each pair measured together."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.grown, self.small, strict=True))

    @property
    def why(self) -> str:
        """What the processes of the grown house spend more on each mail."""
        said = []
        for name in self.grown[0].micros:
            grown, small = (statistics.median(each.micros[name] for each in of) for of in (self.grown, self.small))
            said.append(f"{name} {small:.0f} → {grown:.0f}")
        return "µs of CPU per mail: " + ", ".join(said)


# ---- two houses ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def houses(kind: str) -> Iterator[tuple[House, House]]:
    """The small one and the one that will grow; both empty but for the letter that is the example."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posthaste-bench-")))
        folder.chmod(0o755)  # the sink runs as nobody
        node = stack.enter_context(rig.broker(folder))
        sink = stack.enter_context(rig.sink(folder))
        urls = _two_databases(kind, folder, stack)
        made = []
        for name, url in zip(("small", "grown"), urls, strict=True):
            node.management.create_vhost(name, node.user)
            product = stack.enter_context(rig.product(folder / name, url, node.url_for(name), sink.url))
            made.append(House(product, url, _seed_for(product, url)))
            stack.callback(made[-1].seed.close)
        yield made[0], made[1]


def _two_databases(kind: str, folder: Path, stack: contextlib.ExitStack) -> list[str]:
    if kind == "sqlite":
        return [f"sqlite:///{folder / name / 'posthaste.sqlite'}" for name in ("small", "grown")]
    url = stack.enter_context(rig.database(kind, folder)).url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE small")
    return [url.rpartition("/")[0] + "/small", url]


def _seed_for(product: rig.Product, url: str) -> Seed:
    """Sends the letter that all others are modelled on."""
    product.start("dispatch", "mailroom")
    example = plant(url, 1)
    rig.wait_until(lambda: progress(url, example)["accepted"] == 1, "one letter", 30)
    product.stop()
    return Seed(url, product.folder / "ledger.sqlite", example)


# ---- pages -----------------------------------------------------------------------------------------------------


def pages(house: House, times: int) -> dict[str, list[float]]:
    """Words for the page → milliseconds of each GET over a kept connection; the first of each is not counted."""
    someone = house.size // 2 + 1
    connection = http.client.HTTPConnection("127.0.0.1", house.product.port, timeout=60)
    found: dict[str, list[float]] = {}
    for words, path in _paths(house, someone).items():
        try:
            took = [_get(connection, path) for _ in range(times + 1)]
        except (OSError, http.client.HTTPException) as problem:
            log = (house.product.folder / "web.log").read_text()[-2000:]
            ended = house.product.parts["web"].poll()
            raise AssertionError(
                f"{path} with {house.size:,}: {problem!r}; web's exit code {ended}; {log}"
            ) from problem
        found[words] = took[1:]
    connection.close()
    return found


def _paths(house: House, someone: int) -> dict[str, str]:
    who = person(someone)
    largest = house.seed.largest
    return {
        "/customers": "/customers",
        "/customers?q=<a common name>": f"/customers?q={quote_plus(who.last)}",
        "/customers?q=<first and last name>": f"/customers?q={quote_plus(f'{who.first} {who.last}')}",
        "/customers?q=<one company>": f"/customers?q=company+{someone}",
        "/customers/<id>": f"/customers/{house.seed.customer(someone)}",
        "/messages": "/messages",
        "/messages?q=<an address>": f"/messages?q={quote_plus(who.email)}",
        "/messages/<id>": f"/messages/{largest}",
        "/api/v1/messages": "/api/v1/messages",
        "/api/v1/deliveries?state=failed": "/api/v1/deliveries?state=failed",
    }


def _get(connection: http.client.HTTPConnection, path: str) -> float:
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {rig.KEY}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - begun) * 1000
    if answer.status != 200:
        raise AssertionError(f"{path} answered {answer.status}: {body[:200]!r}")
    return took


# ---- the part --------------------------------------------------------------------------------------------------


def run(options: Options) -> Part:
    sizes = (1_000, 10_000) if options.quick else (1_000, 10_000, 100_000, 1_000_000)
    mails, rounds, times = (500, 1, 3) if options.quick else (5_000, options.rounds, 15)
    part = Part("growth")
    for kind in options.databases:
        found: dict[int, Figures] = {}
        with houses(kind) as (small, grown):
            small.grow(sizes[0])
            for size in sizes:
                rig.say(f"growth, {kind}: {size:,}")
                grown.grow(size)
                found[size] = _measure(small, grown, mails, rounds, times)
        part.rows += _rows(kind, found)
        slowest = {words: max(max(each.pages[words]) for each in found.values()) for words in found[sizes[0]].pages}
        part.notes.append(
            f"{kind}, the slowest single answer at any size, ms: "
            + ", ".join(f"{words} {took:.0f}" for words, took in slowest.items())
        )
    part.notes.append(
        f"Rates: one message with {mails:,} deliveries on the bulk lane, to customers from everywhere in the table; "
        f"beside the same in a house that stays at {sizes[0]:,}, {rounds} times in turn, the median of the ratios. "
        "Memory: the most that a process had since its start. Pages: the median of "
        f"{times} GETs, signed in, over a kept connection."
    )
    return part


def _measure(small: House, grown: House, mails: int, rounds: int, times: int) -> Figures:
    figures = Figures()
    for house in (small, grown):
        house.send(mails // 5)  # connections and caches are warm
    for number in range(rounds):
        order = [(small, figures.small), (grown, figures.grown)]
        for house, into in reversed(order) if number % 2 else order:
            into.append(house.send(mails))
    figures.pages = pages(grown, times)
    figures.memory = grown.memory()
    return figures


def _rows(kind: str, found: dict[int, Figures]) -> list[Row]:
    """A row for each thing measured, a column for each size."""

    def column(size: int) -> str:
        return f"{size:,}"

    rates = {column(size): each.rate for size, each in found.items()}
    beside = {column(size): each.beside for size, each in found.items()}
    rows = [Row(f"mails/s, {kind}", rates)]
    flat = min(beside.values()) >= RATE_GOAL
    largest = found[max(found)]
    smallest = min(found)
    rows.append(
        Row(
            f"rate beside {smallest:,}, {kind}",
            beside,
            f"{RATE_GOAL:.2f} or more: within 10 %",
            flat,
            "" if flat else largest.why,
            f"{min(beside.values()):.2f}",
        )
    )
    for name in largest.memory:
        memory = {column(size): each.memory[name] for size, each in found.items()}
        met = max(memory.values()) < MEMORY_GOAL
        words = f"MB of {'a worker' if name == 'workers' else name}, {kind}"
        rows.append(Row(words, memory, f"under {MEMORY_GOAL} MB", met, "", f"{max(memory.values()):.0f} MB"))
    for name in largest.pages:
        took = {column(size): statistics.median(each.pages[name]) for size, each in found.items()}
        met = max(took.values()) < PAGE_GOAL
        why = "" if met else WHY_SLOW.get(name, "")
        rows.append(
            Row(f"ms of {name}, {kind}", took, f"under {PAGE_GOAL} ms", met, why, f"{max(took.values()):.0f} ms")
        )
    return rows
