"""What the contest comes to: medians of the rounds, ratios within a round."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from email.policy import SMTP

from bench.mailroom.contestants import PEERS
from bench.mailroom.letters import letters
from bench.mailroom.peers.mail import compose
from bench.mailroom.race import Course, Result
from bench.results import Part, Row

OURS = "Posthaste"
CELERY = "Celery, recommended"
Results = dict[str, list[Result]]


def part(results: Results, course: Course, checked: str) -> Part:
    made = Part("mailroom")
    made.rows += [_row(name, found, results[OURS], course.mails) for name, found in results.items()]
    tuned = max((peer.name for peer in PEERS if peer.tuned), key=lambda name: _rate(results[name]))
    made.rows += [_goal(results, CELERY, 10), _goal(results, tuned, 3)]
    made.notes += _notes(results, course, checked)
    return made


def _row(name: str, found: list[Result], ours: list[Result], mails: int) -> Row:
    figures = {
        "mails/s": _rate(found),
        "× Posthaste": statistics.median(one.rate / our.rate for one, our in zip(found, ours, strict=True)),
        "of smtp-source": _median(found, lambda one: one.rate / one.source),
        "CPU µs/mail (workers)": _workers(found),
        "CPU µs/mail (broker)": _median(found, lambda one: one.microseconds("broker")),
        "CPU µs/mail (sink)": _median(found, lambda one: one.microseconds("sink")),
        "s to the first mail": _median(found, lambda one: one.starting),
        f"s for {mails:,}, start included": _median(found, lambda one: one.starting + mails / one.rate),
    }
    return Row(name, figures)


def _goal(results: Results, name: str, times: int) -> Row:
    ours, theirs = results[OURS], results[name]
    ratio = statistics.median(our.rate / their.rate for our, their in zip(ours, theirs, strict=True))
    met = ratio >= times
    return Row(
        f"Posthaste against {name}", {"times": ratio}, f"{times} ×", met, "" if met else _why(ours, theirs, times)
    )


def _why(ours: list[Result], theirs: list[Result], times: int) -> str:
    """Where the CPU time went, and how much there would be for a mail at the goal."""
    parts = {name: _median(ours, lambda one, name=name: one.microseconds(name)) for name in ours[0].cpu}  # type: ignore[misc]
    spent = ", ".join(f"{name} {value:,.0f}" for name, value in parts.items())
    cores = os.cpu_count() or 1
    goal = times * _rate(theirs)
    idle = _median(ours, lambda one: one.idle / one.seconds)
    return (
        f"a mail costs {sum(parts.values()):,.0f} µs of CPU ({spent}), and {goal:,.0f} mails/s on {cores} cores would "
        f"leave {cores * 1e6 / goal:,.0f} for it; meanwhile {idle:.2f} of the {cores} cores had nothing to do, waiting "
        "for disks included"
    )


def _notes(results: Results, course: Course, checked: str) -> list[str]:
    stopped = [name for name, found in results.items() if not all(one.finished for one in found)]
    cost, size = _composing()
    notes = [
        f"{course.mails:,} messages wait in a durable queue of the same RabbitMQ node before a contestant "
        f"starts; the rate is from the first mail in the sink to the last; {len(results[OURS])} rounds in turn, "
        "medians; ratios are taken within a round, those to smtp-source with its mean before and after.",
        f"Posthaste keeps a ledger (SQLite, synchronous FULL), confirms and reports outcomes, which no peer does; "
        f"checked after each round: {checked}.",
        f"Peers get the texts finished, compose with email.message.EmailMessage and flatten in send_message(): "
        f"{cost:,.0f} µs of CPU a letter of {size:,.0f} bytes on this machine. Posthaste fills the fields in itself.",
        _share_of_composing(results, cost),
        "Posthaste: its defaults, 2 workers of 10 SMTP connections.",
        *(peer.note() for peer in PEERS),
        "The peers' log lines go to a file, at the level they have by default if not said otherwise.",
    ]
    if stopped:
        notes.append(
            f"Stopped {course.limit:.0f} s after their first mail, their time for all {course.mails:,} follows "
            f"from the rate until then: {'; '.join(stopped)}."
        )
    return notes


def _share_of_composing(results: Results, cost: float) -> str:
    best = min((peer.name for peer in PEERS), key=lambda name: _workers(results[name]))
    return (
        f"Composing is the largest part of what a peer does: of the {_workers(results[best]):,.0f} µs of CPU that a "
        f"mail costs in the workers of the thriftiest ({best}), at least {cost:,.0f}. Without any composing it would "
        f"still be {_workers(results[best]) - cost:,.0f}; Posthaste's workers spend {_workers(results[OURS]):,.0f} "
        "with it."
    )


def _workers(found: list[Result]) -> float:
    return _median(found, lambda one: one.microseconds("workers"))


def _composing(count: int = 100) -> tuple[float, float]:
    """(CPU microseconds a letter, bytes) of what every peer does with it, without sending; the best of ten times."""
    waiting = list(letters(0, count))
    costs, size = [], 0
    for _ in range(10):
        begun = time.process_time()
        size = sum(len(compose(**letter).as_bytes(policy=SMTP)) for letter in waiting)
        costs.append(time.process_time() - begun)
    return min(costs) / count * 1e6, size / count


def _rate(found: list[Result]) -> float:
    return _median(found, lambda one: one.rate)


def _median(found: list[Result], value: Callable[[Result], float]) -> float:
    return statistics.median(value(one) for one in found)
