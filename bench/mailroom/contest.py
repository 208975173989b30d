"""The contest: rounds over all contestants in turn, because the machine is noisy and only ratios count."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench import rig
from bench.mailroom import posthaste, report
from bench.mailroom.contestants import PEERS
from bench.mailroom.queues import PeerQueue
from bench.mailroom.race import Course, Result, race
from bench.options import Options
from bench.results import Part
from local import leash

ENDLESS = 600.0  # seconds; Posthaste has to finish, because everything is checked afterwards


def run(options: Options) -> Part:
    with tempfile.TemporaryDirectory(prefix="posthaste-bench-") as name:
        folder = Path(name)
        with rig.broker(folder) as node, rig.sink(folder) as sink:
            if options.quick:
                course = Course(node, sink, mails=1_000, limit=2, calibration=2_000)
            else:
                course = Course(node, sink, mails=20_000, limit=10, calibration=10_000)
            return _contest(course, folder, 1 if options.quick else options.rounds)


def _contest(course: Course, folder: Path, rounds: int) -> Part:
    results: dict[str, list[Result]] = {name: [] for name in (report.OURS, *(peer.name for peer in PEERS))}
    queues = {library: PeerQueue(course.node, library, folder) for library in {peer.library for peer in PEERS}}
    checked = ""
    for number in range(1, rounds + 1):
        result, checked = _posthaste(course, folder / f"posthaste-{number}")
        _keep(results, report.OURS, result)
        for peer in PEERS:
            queue = queues[peer.library]
            queue.fill(course.mails)
            environment = queue.environment | dict(peer.environment) | {"BENCH_SMTP_PORT": str(course.sink.port)}
            _keep(results, peer.name, _race(course, peer.command, environment, folder / f"{peer.name}.log"))
    return report.part(results, course, checked)


def _keep(results: dict[str, list[Result]], name: str, result: Result) -> None:
    results[name].append(result)
    rig.say(
        f"mailroom, round {len(results[name])}: {name:24}{result.rate:8.0f} mails/s"
        f"{result.microseconds('workers'):8.0f} µs a mail in the workers{'' if result.finished else ' (stopped)'}"
    )


def _posthaste(course: Course, folder: Path) -> tuple[Result, str]:
    """With a ledger and a vhost of its own."""
    course.node.management.create_vhost(folder.name, course.node.user)
    url = course.node.url_for(folder.name)
    posthaste.enqueue(url, course.mails)
    unused = f"sqlite:///{folder / 'unused.sqlite'}"
    with rig.product(folder, unused, url, course.sink.url, workers=2) as product:
        result = _race(course, posthaste.COMMAND, product.environment, folder / "mailroom.log", ENDLESS)
    checked = posthaste.check(url, folder / "ledger.sqlite", course.mails)
    course.node.management.delete_vhost(folder.name)
    return result, checked


def _race(
    course: Course, command: tuple[str, ...], environment: Mapping[str, str], log: Path, limit: float | None = None
) -> Result:
    def start() -> leash.Leashed:
        with log.open("wb") as output:
            return leash.start(command, env=environment, cwd=rig.ROOT, stdout=output, stderr=output)

    return race(course, start, log, limit)
