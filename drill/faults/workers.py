"""A worker is killed at each point of a conversation, or frozen past its lease."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from drill.fault import fault
from drill.house import CONVERSATIONS
from drill.scene import Scene, until
from drill.sink import Rule, Talk
from drill.sockets import owner


@fault("worker-before-mail", "kill -9 of a worker before MAIL", unknowns=CONVERSATIONS)
def worker_before_mail(scene: Scene) -> None:
    scene.when("ehlo", scene.kill_worker_of)


@fault("worker-before-dot", "kill -9 of a worker between DATA and dot", unknowns=CONVERSATIONS)
def worker_before_dot(scene: Scene) -> None:
    scene.when("data", scene.kill_worker_of)


@fault("worker-after-dot", "kill -9 of a worker after the dot, before the reply", unknowns=CONVERSATIONS)
def worker_after_dot(scene: Scene) -> None:
    rule = scene.when("dot", scene.kill_worker_of)
    _was_unknown(scene, rule.talk)


@fault("worker-before-ledger", "kill -9 of a worker after 250, before the ledger", unknowns=CONVERSATIONS)
def worker_before_ledger(scene: Scene) -> None:
    lock = scene.stores.ledger_locked()

    def strike(talk: Talk, worker: int) -> None:
        try:
            scene.until_read(talk)
            scene.require(scene.ledger_state(talk.key) == "started", "the ledger was quicker than the kill")
            os.kill(worker, signal.SIGKILL)
        finally:
            lock.__exit__(None, None, None)

    rule = _around_250(scene, lambda: scene.enter(lock), strike)
    _was_unknown(scene, rule.talk)


@fault("worker-before-ack", "kill -9 of a worker after the ledger, before the ack", unknowns=CONVERSATIONS)
def worker_before_ack(scene: Scene) -> None:
    broker = scene.broker.frozen()

    def strike(talk: Talk, worker: int) -> None:
        try:
            scene.until(lambda: scene.ledger_state(talk.key) == "accepted", "the ledger to know it")
            os.kill(worker, signal.SIGKILL)
        finally:
            broker.__exit__(None, None, None)

    rule = _around_250(scene, lambda: scene.enter(broker), strike)
    assert rule.talk is not None
    key = rule.talk.key
    scene.until(lambda: scene.attempts(key), "its outcome", 40)
    scene.require(scene.attempts(key) == ["accepted"], f"{key} was tried again: {scene.attempts(key)}")
    scene.require(scene.sink.taken[key] == 1, f"{key} was sent {scene.sink.taken[key]} times")


def _around_250(scene: Scene, prepare: Callable[[], None], strike: Callable[[Talk, int], None]) -> Rule:
    """Before a mail's 250 and after it, with the pid of its worker: asked for before, as it may hang up after."""
    workers: list[int] = []

    def before(talk: Talk) -> None:
        workers.append(owner(talk.port))
        prepare()

    def after(talk: Talk) -> None:
        strike(talk, workers[0])

    rule = scene.sink.on("dot", before=before, after=after, skip=scene.rng.randrange(5))
    scene.until(rule.done.is_set, "a mail at the dot", 40)
    return rule


def _was_unknown(scene: Scene, talk: Talk | None) -> None:
    """The one that was struck is known as unknown, whatever came of it later."""
    assert talk is not None
    key = talk.key
    scene.until(lambda: "unknown" in scene.attempts(key), f"{key} to be unknown", 40)


PAST_THE_LEASE: dict[str, object] = {"frozen_seconds": 600}  # the supervisor would kill it before


@fault(
    "worker-frozen-at-data",
    "SIGSTOP of a worker past its lease, at DATA",
    unknowns=CONVERSATIONS,
    seconds=10,
    patience=90,
    settings=PAST_THE_LEASE,
)
def frozen_at_data(scene: Scene) -> None:
    _freeze(scene, "data")


@fault(
    "worker-frozen-at-dot",
    "SIGSTOP of a worker past its lease, after the dot",
    unknowns=CONVERSATIONS,
    seconds=10,
    patience=90,
    settings=PAST_THE_LEASE,
)
def frozen_at_dot(scene: Scene) -> None:
    _freeze(scene, "dot")


@fault(
    "worker-frozen",
    "SIGSTOP of a worker for good: the supervisor kills it",
    unknowns=CONVERSATIONS,
    seconds=10,
    settings={"frozen_seconds": 8},
)
def frozen_for_good(scene: Scene) -> None:
    """Also one that has the ledger's file for itself, so that all others wait."""
    worker = scene.rng.choice(scene.product.workers())
    for _ in range(200):
        _stop(worker)
        if not scene.stores.ledger_is_free():
            break
        os.kill(worker, signal.SIGCONT)
        time.sleep(scene.rng.uniform(0, 0.02))
    else:
        _stop(worker)
    scene.until(lambda: worker not in scene.product.workers(), "the frozen worker to be killed", 60)


def _freeze(scene: Scene, phase: str) -> None:
    """Its link to the broker dies for want of heartbeats, and another worker gets its letters."""
    frozen: list[int] = []

    def freeze(talk: Talk) -> None:
        frozen.append(owner(talk.port))
        # not while it has SQLite's one lock: nobody could take over before the supervisor kills it
        scene.until(lambda: _stopped_beside_the_ledger(scene, frozen[0]), "a moment beside the ledger")

    scene.when(phase, freeze)
    try:
        scene.until(scene.unknowns, "another to take over", 90)
        time.sleep(scene.rng.uniform(0, 4))
    finally:
        os.kill(frozen[0], signal.SIGCONT)


def _stopped_beside_the_ledger(scene: Scene, pid: int) -> bool:
    _stop(pid)
    for _ in range(20):  # another may have it just now
        if scene.stores.ledger_is_free():
            return True
        time.sleep(0.02)
    os.kill(pid, signal.SIGCONT)
    return False


def _stop(pid: int) -> None:
    """SIGSTOP, and it stands still when this returns."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it to stand still")
