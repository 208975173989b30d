"""The broker dies, freezes, sounds an alarm, or loses a queue."""

from __future__ import annotations

import time

from drill.fault import fault
from drill.scene import Scene
from drill.sink import late
from shared import topology
from shared.lanes import Lane

NORMAL = topology.lane_queue(Lane.normal)
REQUEUE = {"requeue_minutes": 0.1}  # by itself, soon
RECONNECT = 90.0  # patience: links look again after up to ten seconds, relays' claims last sixty


@fault("broker-killed", "broker kill -9 and restart under load", seconds=8, patience=RECONNECT)
def killed(scene: Scene) -> None:
    scene.broker.node.kill()
    scene.broker.node.start()


@fault("broker-stopped", "broker stopped for a minute", seconds=30, patience=RECONNECT)
def stopped(scene: Scene) -> None:
    scene.broker.node.stop()
    time.sleep(60)
    scene.broker.node.start()


@fault("broker-frozen", "broker frozen for 45 s: the link is half open", seconds=20, patience=RECONNECT)
def frozen(scene: Scene) -> None:
    with scene.broker.frozen():
        time.sleep(45)


@fault("memory-alarm", "memory alarm: connection.blocked", seconds=8)
def memory_alarm(scene: Scene) -> None:
    _alarm(scene, ("set_vm_memory_high_watermark", "0.000001"), ("set_vm_memory_high_watermark", "0.4"))


@fault("disk-alarm", "disk alarm: connection.blocked", seconds=8)
def disk_alarm(scene: Scene) -> None:
    _alarm(scene, ("set_disk_free_limit", "100000000GB"), ("set_disk_free_limit", "50MB"))


def _alarm(scene: Scene, on: tuple[str, ...], off: tuple[str, ...]) -> None:
    """The load goes on; what is in the broker is still delivered, what is not waits in the database."""
    scene.broker.node.control(*on)
    scene.undo.callback(scene.broker.node.control, *off)
    for number in range(25):  # rabbitmqctl may take as long as the load
        scene.load.send(f"alarm-{number}@a.example")
    scene.until(lambda: len(_pending(scene)) > 20, "letters to wait for the broker")
    time.sleep(scene.rng.uniform(0, 5))


def _pending(scene: Scene) -> list[object]:
    return [*scene.stores.crm("SELECT id FROM delivery WHERE state = 'pending'")]


def _impatient(scene: Scene) -> None:
    """Before there are channels: each keeps the patience that it was opened with."""
    node = scene.broker.node
    setting = "application:set_env(rabbit, {}, {})."
    for name, short, usual in (("consumer_timeout", 2000, 1_800_000), ("channel_tick_interval", 1000, 60_000)):
        node.control("eval", setting.format(name, short))
        scene.undo.callback(node.control, "eval", setting.format(name, usual))


@fault(
    "consumer-timeout",
    "consumer timeout: the broker takes its letters back",
    prepare=_impatient,
    settings={"dot_seconds": 8},
)
def consumer_timeout(scene: Scene) -> None:
    """Conversations that take longer than the broker is patient, before the ledger knows of them and after."""
    for phase in ("rcpt", "dot"):
        scene.sink.on(phase, late(5.5), times=4)
    scene.until(lambda: "channel closed" in scene.product.log("mailroom"), "a channel to be closed", 40)


# ---- what the broker loses, reconciliation finds -----------------------------------------------------------------


@fault("queue-deleted", "a lane's queue deleted under its consumer", settings=REQUEUE, patience=150)
def queue_deleted(scene: Scene) -> None:
    scene.broker.node.management.delete("queues", "/", NORMAL)


@fault("queue-purged", "a lane's queue purged", settings=REQUEUE, patience=150)
def queue_purged(scene: Scene) -> None:
    scene.product.stop("mailroom")
    scene.until(lambda: scene.broker.depths()[NORMAL] > 5, "letters in the queue")
    with scene.broker.connected() as connection:
        connection.channel().queue_purge(NORMAL)
    scene.product.start("mailroom")
