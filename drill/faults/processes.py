"""Web, dispatch and the mail room as a whole are killed, at exactly the worst moments, or told to stop."""

from __future__ import annotations

import os
import signal
import time

from drill.fault import fault
from drill.scene import Scene, uuid
from drill.sink import Talk, late
from drill.sockets import unread_from

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
    scene.until(lambda: scene.product.ready("web"), "web to be back again")


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

    rule = scene.sink.on("dot", before=lambda _: scene.enter(lock), after=strike, skip=scene.rng.randrange(5))
    scene.until(rule.done.is_set, "a mail at the dot", 40)


# ---- the mail room ----------------------------------------------------------------------------------------------


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


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
