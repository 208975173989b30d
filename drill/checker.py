"""The one checker: whatever the fault was, this must be true afterwards."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from drill.broker import waiting
from drill.fault import Fault
from drill.scene import Missed, Scene, until, uuid
from local.product import KEY
from shared.topology import DEAD_QUEUE

STATES = (
    *("pending", "queued", "accepted", "deferred", "failed", "unknown"),
    *("suppressed", "cancelled", "discarded", "bounced"),
)
SETTLED = ("accepted", "failed", "unknown", "deferred", "cancelled")
OPEN = ("pending", "queued", "deferred")
DEAD = ("failed", "unknown")  # unless they try again by themselves
SHOWN = 5
LAST_EVENTS_SECONDS = 10.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Result:
    """One row of the table. seconds: from the fault's end, or the load's if that came later, until all was settled."""

    fault: Fault
    messages: int = 0
    deliveries: int = 0
    lost: int = 0
    doubled: int = 0  # of them, as many as were unknown once are the window that no SMTP client can close
    unknown: int = 0
    failed: int = 0
    seconds: float = 0.0
    impossible: str = ""
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.complaints


@dataclass(frozen=True)
class Delivery:
    key: str
    message: str
    address: str
    state: str
    reason: str
    kinds: tuple[str, ...]  # what its attempts came to

    @property
    def was_unknown(self) -> bool:
        return "unknown" in self.kinds


def deliveries(scene: Scene) -> list[Delivery]:
    kinds: dict[str, list[str]] = {}
    for key, kind in scene.every_attempt():
        kinds.setdefault(key, []).append(kind)
    rows = scene.stores.crm("SELECT id, generation, message_id, address, state, reason FROM delivery")
    return [
        Delivery(key, uuid(message), address, state, reason or "", tuple(kinds.get(key, ())))
        for key, message, address, state, reason in ((f"{uuid(row[0])}.{row[1]}", *row[2:]) for row in rows)
    ]


def settle(scene: Scene, patience: float) -> str:
    """Waits until nothing is under way any more; what is left, in words, if that does not come."""
    deadline = time.monotonic() + patience
    while True:
        left = _left(scene)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _left(scene: Scene) -> str:
    grouped = scene.stores.crm("SELECT state, next_at IS NOT NULL, count(*) FROM delivery GROUP BY 1, 2")
    still, dead = Counter[str](), scene.strangers
    for state, again, count in grouped:
        if again or state in OPEN:
            still[state] += count
        elif state in DEAD:
            dead += count
    if still:
        return f"deliveries still under way: {_counts(still)}"
    try:
        depths = scene.broker.depths()
    except OSError as problem:
        return f"the broker does not answer: {problem}"
    if queues := waiting(depths):
        return f"queues that are not empty: {_counts(queues)}"
    return "" if depths[DEAD_QUEUE] == dead else f"{depths[DEAD_QUEUE]} dead letters, {dead} expected"


def check(scene: Scene, result: Result) -> None:
    """Everything but what only shows when the product has ended."""
    found = deliveries(scene)
    by_message: dict[str, list[Delivery]] = {}
    for each in found:
        by_message.setdefault(each.message, []).append(each)
    taken = scene.sink.taken
    result.messages, result.deliveries = len(scene.load.answered), len(found)
    _check_promises(scene, result, by_message)
    _check_letters(scene, result, found, taken)
    strangers = {key for key in taken if key not in {each.key for each in found}}
    if strangers:
        result.complaints.append(f"mails that are no delivery's: {_some(strangers)}")
    _check_sums(scene, result, by_message)


def _check_promises(scene: Scene, result: Result, by_message: dict[str, list[Delivery]]) -> None:
    """Whatever was answered 202 is there, with all its recipients, and has come to something."""
    wrong = []
    for asked in scene.load.all_asked:
        message = scene.load.answered.get(asked.number)
        mine = by_message.get(message or "", [])
        if message is None:
            wrong.append(f"request {asked.number} was never answered")
        elif sorted(each.address for each in mine) != sorted(asked.recipients):
            result.lost += len(asked.recipients) - len(mine)
            wrong.append(f"message {message} has {len(mine)} of {len(asked.recipients)} deliveries")
    unsettled = [each for mine in by_message.values() for each in mine if each.state not in SETTLED]
    result.lost += len(unsettled)
    wrong += [f"{each.key} is still {each.state}" for each in unsettled]
    if len(by_message) > len(scene.load.all_asked):
        wrong.append(f"{len(by_message)} messages came of {len(scene.load.all_asked)} requests")
    wrong += scene.load.refused
    if wrong:
        result.complaints.append(_some(wrong))


def _check_letters(scene: Scene, result: Result, found: list[Delivery], taken: Counter[str]) -> None:
    lost = [each for each in found if each.state == "accepted" and not taken[each.key]]
    doubled = [each for each in found if taken[each.key] > 1]
    unknown = [each for each in found if each.was_unknown]
    failed = [each for each in found if each.state == "failed"]
    result.lost += len(lost)
    result.doubled, result.unknown, result.failed = len(doubled), len(unknown), len(failed)
    complaints = {
        "accepted, but the server does not have it": lost,
        "doubled unseen": [each for each in doubled if not each.was_unknown],
        "failed, but the server has it": [each for each in failed if taken[each.key] and not each.was_unknown],
        "failed without a reason": [each for each in failed if each.address not in scene.failing],
        "should have failed": [each for each in found if each.address in scene.failing and each.state != "failed"],
    }
    for what, those in complaints.items():
        if those:
            words = [f"{each.key} ({each.state}, {'/'.join(each.kinds)}: {each.reason})" for each in those]
            result.complaints.append(f"{what}: {_some(words)}")
    if len(unknown) > result.fault.unknowns:
        words = [f"{each.key} ({each.state}, {'/'.join(each.kinds)})" for each in unknown]
        result.complaints.append(f"{len(unknown)} unknown, at most {result.fault.unknowns} expected: {_some(words)}")


def _check_sums(scene: Scene, result: Result, by_message: dict[str, list[Delivery]]) -> None:
    """planned = sum of the states, as the API and the pages show them."""
    wrong = []
    for message in _messages(scene):
        counts = message["counts"]
        mine = Counter(each.state for each in by_message.get(message["id"], []))
        if counts["planned"] != sum(counts[state] for state in STATES):
            wrong.append(f"{message['id']}: {_counts(counts)}")
        elif any(counts[state] != mine[state] for state in STATES):
            wrong.append(f"{message['id']} says {_counts(counts)} and has {_counts(mine)}")
    if wrong:
        result.complaints.append(f"sums: {_some(wrong)}")


def _messages(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        address = f"{scene.product.url}/api/v1/messages?limit=200{cursor}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {KEY}"})  # noqa: S310
        with _opener.open(request, timeout=30) as answer:
            page = json.loads(answer.read())
        found += page["items"]
        if not page["next"]:
            return found
        cursor = f"&cursor={page['next']}"


def end(scene: Scene, result: Result) -> None:
    """Stops the product: each part must end in good order and leave nothing unacked behind."""
    codes = scene.product.stop("web", "mailroom")
    with contextlib.suppress(Missed):  # the workers' last words are for dispatch
        until(lambda: not waiting(scene.broker.depths()), "the last events to be applied", LAST_EVENTS_SECONDS)
    codes |= scene.product.stop("dispatch")
    if any(codes.values()):
        result.complaints.append(f"did not end in good order: {_counts(codes)}")
    try:
        if left := waiting(scene.broker.depths()):
            result.complaints.append(f"left unacked: {_counts(left)}")
    except OSError as problem:
        result.complaints.append(f"the broker does not answer: {problem}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _some(words: Any) -> str:
    every = list(words)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(map(str, every[:SHOWN])) + more
