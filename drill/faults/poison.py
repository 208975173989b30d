"""Messages that nobody can understand, letters that cannot be written, events that come thrice and in any order."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import time
from uuid import uuid4

import pika

from drill.fault import fault
from drill.scene import Scene
from shared import topology
from shared.files import FileStore, hash_of

OWN = "drill.events"


def _publish(scene: Scene, exchange: str, key: str, kind: str, body: bytes) -> None:
    with scene.broker.connected() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(type=kind, message_id=f"stranger-{secrets.token_hex(4)}", delivery_mode=2)
        channel.basic_publish(exchange, key, body, properties, mandatory=True)
    scene.strangers += 1


@fault("poison-json", "poison: bad JSON, as a command and as an event")
def bad_json(scene: Scene) -> None:
    _publish(scene, topology.COMMANDS, "send.normal", "mail.send.v1", b'{"delivery": ')
    _publish(scene, topology.EVENTS, topology.OUTCOME_KEY, "mail.outcomes.v1", b"\xff\xfe")


@fault("poison-version", "poison: a version that nobody knows")
def unknown_version(scene: Scene) -> None:
    _publish(scene, topology.COMMANDS, "send.urgent", "mail.send.v99", b"{}")
    _publish(scene, topology.EVENTS, topology.OUTCOME_KEY, "mail.outcomes.v99", b"{}")


@fault("poison-bounds", "poison: an outcome beyond all numbers, a heartbeat without a zone")
def out_of_bounds(scene: Scene) -> None:
    """Nobody restarts dispatch for them, and what came with them is applied."""
    outcome = {"delivery": str(uuid4()), "generation": 1, "attempt": 2**63, "lane": "normal", "kind": "accepted"}
    at = {"received_at": "2026-11-27T12:00:00Z", "finished_at": "2026-11-27T12:00:01Z"}
    said = {"phase": "dot", "reason": "Their server has taken it.", "worker": "drill/1", "host": "drill"}
    body = json.dumps({"outcomes": [outcome | at | said]}).encode()
    _publish(scene, topology.EVENTS, topology.OUTCOME_KEY, "mail.outcomes.v1", body)
    with scene.broker.connected() as connection:
        properties = pika.BasicProperties(type="mail.heartbeat.v1")
        beat = {"room": "drill", "worker": 1, "workers": 1, "host": "drill", "pid": 1, "at": "2026-11-27T12:00:00"}
        counts = dict.fromkeys(("in_flight", "accepted", "deferred", "failed", "unknown"), 0)
        body = json.dumps(beat | {"started_at": "2026-11-27T12:00:00"} | counts).encode()
        connection.channel().basic_publish(topology.CONTROL, topology.HEARTBEAT_KEY, body, properties)
    before = len(scene.every_attempt())
    scene.until(lambda: len(scene.every_attempt()) >= before + 20, "twenty more outcomes to be applied", 60)
    lives = scene.product.lives("dispatch")
    scene.require(len(lives) == 1, f"dispatch was started {len(lives)} times")


@fault("poison-attachment", "poison: an attachment is missing")
def missing_attachment(scene: Scene) -> None:
    _with_attachment(scene, "missing@drill.example", replace_by_folder=False)


@fault("poison-compose", "poison: a letter that crashes composing")
def crash(scene: Scene) -> None:
    """A folder where its attachment should be: nothing that composing expects."""
    _with_attachment(scene, "crash@drill.example", replace_by_folder=True)


def _with_attachment(scene: Scene, recipient: str, *, replace_by_folder: bool) -> None:
    content = secrets.token_bytes(3000)
    attached = {"filename": "leaf.bin", "content": base64.b64encode(content).decode()}
    scene.load.send(recipient, attachments=[attached], undo_seconds=2)
    path = FileStore(scene.product.folder / "files").path(hash_of(content))
    path.unlink()
    if replace_by_folder:
        path.mkdir()
    scene.failing.add(recipient)
    query = f"SELECT state FROM delivery WHERE address = '{recipient}'"  # noqa: S608 (ours)
    scene.until(lambda: scene.stores.crm(query)[0][0] == "failed", "it to fail", 60)


@fault("events-thrice", "every outcome event three times, shuffled")
def events_thrice(scene: Scene) -> None:
    with scene.broker.connected() as connection:
        channel = connection.channel()
        channel.queue_declare(OWN, durable=True)
        channel.queue_bind(OWN, topology.EVENTS, "#")
        scene.undo.callback(_remove, scene)
        channel.queue_unbind(topology.OUTCOMES_QUEUE, topology.EVENTS, "#")
        deadline = time.monotonic() + 4
        held = []
        while time.monotonic() < deadline:
            method, properties, body = channel.basic_get(OWN, auto_ack=True)
            if method is None:
                connection.sleep(0.05)
                continue
            held.append((properties, body))
        channel.queue_bind(topology.OUTCOMES_QUEUE, topology.EVENTS, "#")
        channel.queue_unbind(OWN, topology.EVENTS, "#")
        while (got := channel.basic_get(OWN, auto_ack=True))[0] is not None:
            held.append((got[1], got[2]))
        scene.require(bool(held), "no event came")
        every = held * 3
        scene.rng.shuffle(every)
        channel.confirm_delivery()  # a channel that is closed before a quorum queue has answered loses the last ones
        for properties, body in every:
            channel.basic_publish("", topology.OUTCOMES_QUEUE, body, properties)


def _remove(scene: Scene) -> None:
    with contextlib.suppress(pika.exceptions.AMQPError), scene.broker.connected() as connection:
        channel = connection.channel()
        channel.queue_bind(topology.OUTCOMES_QUEUE, topology.EVENTS, "#")
        channel.queue_delete(OWN)
