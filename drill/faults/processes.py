"""Processes that are killed, at exactly the worst moments, or frozen."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager

from drill.fault import fault
from drill.house import CONVERSATIONS
from drill.scene import Scene, uuid
from drill.sink import Talk, late
from drill.sockets import owner, unread_from

RELAY_LEASE = 60  # seconds after which a dead relay's claims are free


# ---- web and dispatch ------------------------------------------------------------------------------------------


@fault("web-killed", "kill -9 of web during a request")
def web(scene: Scene) -> None:
    with scene.stores.crm_locked():
        scene.until(lambda: scene.load.waiting > 0, "a request to be under way")
        time.sleep(scene.rng.uniform(0, 0.2))
        scene.kill("web")
    scene.until(lambda: scene.product.ready("web"), "web to be back")
    time.sleep(scene.rng.uniform(0, 0.5))
    scene.kill("web")  # and once more wherever it is now


@fault("dispatch-before-mark", "kill -9 of dispatch between publish and mark", patience=RELAY_LEASE + 40)
def dispatch_before_confirm(scene: Scene) -> None:
    with scene.broker.frozen():
        pid, port = scene.product.pid("dispatch"), scene.broker.node.port
        scene.until(lambda: unread_from(pid, port) > 500, "letters on their way to the broker")
        scene.kill("dispatch")


@fault("dispatch-after-confirm", "kill -9 of dispatch between confirm and mark", patience=RELAY_LEASE + 40)
def dispatch_before_mark(scene: Scene) -> None:
    with scene.broker.frozen():
        pid, port = scene.product.pid("dispatch"), scene.broker.node.port
        scene.until(lambda: unread_from(pid, port) > 500, "letters on their way to the broker")
        claimed = _claimed(scene)
        lock = scene.stores.crm_locked()
        lock.__enter__()
    try:
        scene.until(lambda: claimed <= set(scene.sink.taken), "what was published to be sent")
        scene.kill("dispatch")
    finally:
        lock.__exit__(None, None, None)


def _claimed(scene: Scene) -> set[str]:
    rows = scene.stores.crm("SELECT id, generation FROM delivery WHERE state = 'pending' AND claimed_until IS NOT NULL")
    return {f"{uuid(delivery)}.{generation}" for delivery, generation in rows}


@fault("dispatch-applying", "kill -9 of dispatch while it applies outcomes", patience=RELAY_LEASE + 40)
def dispatch_applying(scene: Scene) -> None:
    lock = scene.stores.crm_locked()

    def strike(talk: Talk) -> None:
        try:
            scene.until(lambda: scene.ledger_state(talk.key) == "accepted", "the ledger to know it")
            time.sleep(scene.rng.uniform(0.1, 0.5))  # its outcome is with dispatch, which waits for the database
            scene.kill("dispatch")
        finally:
            lock.__exit__(None, None, None)

    rule = scene.sink.on("dot", before=lambda _: enter(lock), after=strike, skip=scene.rng.randrange(5))
    scene.until(rule.done.is_set, "a mail at the dot", 40)


def enter(context: AbstractContextManager[object]) -> None:
    """Entered by one hook and left by the next."""
    context.__enter__()


# ---- workers ---------------------------------------------------------------------------------------------------


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

    def strike(talk: Talk) -> None:
        try:
            scene.until_read(talk)
            scene.require(scene.ledger_state(talk.key) == "started", "the ledger was quicker than the kill")
            scene.kill_worker_of(talk)
        finally:
            lock.__exit__(None, None, None)

    rule = scene.sink.on("dot", before=lambda _: enter(lock), after=strike, skip=scene.rng.randrange(5))
    scene.until(rule.done.is_set, "a mail at the dot", 40)
    _was_unknown(scene, rule.talk)


@fault("worker-before-ack", "kill -9 of a worker after the ledger, before the ack", unknowns=CONVERSATIONS)
def worker_before_ack(scene: Scene) -> None:
    broker = scene.broker.frozen()

    def strike(talk: Talk) -> None:
        try:
            scene.until(lambda: scene.ledger_state(talk.key) == "accepted", "the ledger to know it")
            scene.kill_worker_of(talk)
        finally:
            broker.__exit__(None, None, None)

    rule = scene.sink.on("dot", before=lambda _: enter(broker), after=strike, skip=scene.rng.randrange(5))
    scene.until(rule.done.is_set, "a mail at the dot", 40)
    assert rule.talk is not None
    key = rule.talk.key
    scene.until(lambda: scene.attempts(key), "its outcome", 40)
    scene.require(scene.attempts(key) == ["accepted"], f"{key} was tried again: {scene.attempts(key)}")
    scene.require(scene.sink.taken[key] == 1, f"{key} was sent {scene.sink.taken[key]} times")


def _was_unknown(scene: Scene, talk: Talk | None) -> None:
    """The one that was struck is known as unknown, whatever came of it later."""
    assert talk is not None
    key = talk.key
    scene.until(lambda: "unknown" in scene.attempts(key), f"{key} to be unknown", 40)


@fault("supervisor-killed", "kill -9 of the mail room's supervisor")
def supervisor(scene: Scene) -> None:
    workers = scene.product.workers()
    scene.kill("mailroom")
    scene.until(lambda: len(scene.product.lives("mailroom")) > 1, "another supervisor")
    scene.until(lambda: not any(_runs(pid) for pid in workers), "its workers to end", 40)


@fault("term-in-flight", "SIGTERM with 50 in flight", settings={"connections": 40})
def term_in_flight(scene: Scene) -> None:
    for phase in ("dot", "data"):
        scene.sink.on(phase, late(2.0), times=60)
    scene.until(lambda: len(_in_flight(scene)) >= 50, "50 letters in flight")
    os.kill(scene.product.pid("mailroom"), signal.SIGTERM)
    scene.until(lambda: len(scene.product.lives("mailroom")) > 1, "another mail room", 60)
    scene.require(scene.product.lives("mailroom")[0][1] == 0, "the mail room did not end in good order")


def _in_flight(scene: Scene) -> list[object]:
    return [*scene.stores.ledger("SELECT key FROM attempt WHERE state = 'started'")]


@fault(
    "worker-frozen-at-data",
    "SIGSTOP of a worker past its lease, at DATA",
    unknowns=CONVERSATIONS,
    seconds=10,
    patience=90,
)
def frozen_at_data(scene: Scene) -> None:
    _freeze(scene, "data")


@fault(
    "worker-frozen-at-dot",
    "SIGSTOP of a worker past its lease, after the dot",
    unknowns=CONVERSATIONS,
    seconds=10,
    patience=90,
)
def frozen_at_dot(scene: Scene) -> None:
    _freeze(scene, "dot")


def _freeze(scene: Scene, phase: str) -> None:
    """Its link to the broker dies for want of heartbeats, and another worker gets its letters."""
    frozen: list[int] = []

    def freeze(talk: Talk) -> None:
        frozen.append(owner(talk.port))
        os.kill(frozen[0], signal.SIGSTOP)

    scene.when(phase, freeze)
    try:
        scene.until(scene.unknowns, "another to take over", 90)
        time.sleep(scene.rng.uniform(0, 4))
    finally:
        os.kill(frozen[0], signal.SIGCONT)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
