"""The click: how long an answer takes and how many there are a second, with one client and with sixteen.

Rounds over all contestants in turn, because the machine is noisy and only ratios within a round count.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import rig
from bench.click.accepted import click_to_accepted
from bench.click.commit import one_commit
from bench.click.contestants import CELERY, CONFIRMED, IN_REQUEST, OURS, PLAIN, ROUND_TRIP_SECONDS, VALIDATES, servers
from bench.click.load import Answers, measure
from bench.options import Options
from bench.results import Part, Row

FEW, MANY = 1, 16  # clients
MOST_LATENCY, LEAST_RATE, LEAST_TIMES_CELERY = 2.0, 0.4, 3.0
IDLE_GOAL_MS = 100

Found = dict[str, dict[int, list[Answers]]]  # contestant → clients → a round each


def run(options: Options) -> Part:
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, 4.0)
    part = Part("click")
    for number, kind in enumerate(options.databases):
        found, commits = _contest(kind, rounds, seconds, peers=number == 0)
        part.rows += [_row(name, kind, found) for name in found]
        part.rows += _goals(kind, found, commits)
    for kind in options.databases:
        part.rows.append(_idle(kind, letters=10 if options.quick else 200))
    part.notes += _notes(rounds, seconds)
    return part


def _contest(kind: str, rounds: int, seconds: float, peers: bool) -> tuple[Found, float]:
    """Also: milliseconds of committing one message, with nothing around it."""
    with tempfile.TemporaryDirectory(prefix="posthaste-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the sink runs as nobody
        with servers(kind, folder, peers) as (made, product):
            found: Found = {server.name: {FEW: [], MANY: []} for server in made}
            for server in made:
                measure(server.port, MANY, 1.0, server.letters)  # connections and caches are warm
            for _ in range(rounds):
                for clients in (FEW, MANY):
                    for server in made:
                        answers = measure(server.port, clients, seconds, server.letters)
                        found[server.name][clients].append(answers)
                        rig.say(
                            f"click, {kind}, {clients:2} clients: {server.name:28}{answers.rate:8.0f} requests/s"
                            f"{answers.quantile(0.5):8.2f} ms p50{answers.quantile(0.99):8.2f} ms p99"
                        )
            return found, one_commit(product)


def _row(name: str, kind: str, found: Found) -> Row:
    figures = {}
    for clients, answers in found[name].items():
        words = "1 client" if clients == 1 else f"{clients} clients"
        figures[f"p50 ms, {words}"] = statistics.median(each.quantile(0.5) for each in answers)
        figures[f"p99 ms, {words}"] = statistics.median(each.quantile(0.99) for each in answers)
    figures["requests/s"] = statistics.median(each.rate for each in found[name][MANY])
    return Row(f"{name}, {kind}" if name in (OURS, VALIDATES) else name, figures)


def _goals(kind: str, found: Found, commit: float) -> list[Row]:
    latency = _ratio(found, OURS, VALIDATES, FEW, lambda answers: answers.quantile(0.5))
    rate = _ratio(found, OURS, VALIDATES, MANY, lambda answers: answers.rate)
    goals = [
        Row(
            f"p50 beside only validating, 1 client, {kind}",
            {"times": latency},
            f"at most {MOST_LATENCY:.0f} ×",
            latency <= MOST_LATENCY,
            "" if latency <= MOST_LATENCY else _why(found, commit),
        ),
        Row(
            f"requests/s beside only validating, 16 clients, {kind}",
            {"of them": rate},
            f"at least {LEAST_RATE:.0%}",
            rate >= LEAST_RATE,
            "",
            f"{rate:.0%}",
        ),
    ]
    for name in (CELERY, CONFIRMED) if CELERY in found else ():
        times = _ratio(found, OURS, name, MANY, lambda answers: answers.rate)
        goal = f"at least {LEAST_TIMES_CELERY:.0f} ×"
        met = times >= LEAST_TIMES_CELERY
        why = "" if met else _why_beside(found, name)
        goals.append(Row(f"requests/s against {name}, {kind}", {"times": times}, goal, met, why))
    return goals


def _ratio(found: Found, one: str, other: str, clients: int, value: Callable[[Answers], float]) -> float:
    pairs = zip(found[one][clients], found[other][clients], strict=True)
    return statistics.median(value(a) / value(b) for a, b in pairs)


def _why(found: Found, commit: float) -> str:
    ours, twin = (
        statistics.median(each.quantile(0.5) for each in found[name][FEW]) * 1000 for name in (OURS, VALIDATES)
    )
    return (
        f"To store the message takes {ours - twin:,.0f} µs more than to validate it ({twin:,.0f} µs, since the click "
        f"overtakes the router); {commit * 1000:,.0f} of them are its transaction when nothing else is done, the rest "
        "is the way to the thread that commits and back, on a core that has slept meanwhile"
    )


def _why_beside(found: Found, other: str) -> str:
    ours, its = ([each.rate for each in found[name][MANY]] for name in (OURS, other))
    each = ", ".join(f"{a / b:.2f}" for a, b in zip(ours, its, strict=True))
    floor = statistics.median(answers.rate for answers in found[VALIDATES][MANY])
    return (
        f"in the single rounds {each} times. One process answers, and a request costs it "
        f"{1e6 / statistics.median(ours):,.0f} µs, of which {1e6 / floor:,.0f} are to validate and to answer"
    )


def _idle(kind: str, letters: int) -> Row:
    """From the click to the accepted mail, with everything up and nothing else to do."""
    from bench.whole import house  # it shows the same under load, and so knows this package

    with house(kind) as made:
        click_to_accepted(made.product, 5)
        times = click_to_accepted(made.product, letters)
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    figures = {"p50 ms": cuts[49], "p95 ms": cuts[94], "p99 ms": cuts[98], "letters": len(times)}
    met = cuts[49] <= IDLE_GOAL_MS
    return Row(f"click to accepted, idle, {kind}", figures, f"p50 {IDLE_GOAL_MS} ms", met, "", f"p50 {cuts[49]:.0f} ms")


def _notes(rounds: int, seconds: float) -> list[str]:
    return [
        f"{rounds} rounds of {seconds:.0f} s in turn, medians; ratios are taken within a round. One server process; "
        "the client is a process of its own that costs 30 µs a request.",
        f"{OURS}: the message and its delivery are committed, on SQLite with synchronous FULL, when the answer comes.",
        f"{VALIDATES}: the same web server, middleware, sign-in, draft, checks and answer; no thread, no transaction.",
        f"{PLAIN}: the framework alone, without sign-in and middleware; it checks the finished letter and answers.",
        f"{IN_REQUEST}: FastAPI, a connection a mail as its documentation shows, to smtp-sink through a relay that "
        f"delays each reply by {ROUND_TRIP_SECONDS * 1000:.0f} ms.",
        f"{CELERY}: FastAPI, delay() in a thread, to a quorum queue as it comes, without publisher confirms: a message "
        f"that the broker loses is lost unseen. {CONFIRMED}: with confirm_publish. Neither stores anything, and both "
        "get finished texts.",
    ]
