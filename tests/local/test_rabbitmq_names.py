"""A node killed within a second of declaring a quorum queue finds the queue and what is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pika
import pytest

from local import rabbitmq_names
from local.errors import LocalError
from local.rabbitmq import Node

QUEUES = [f"letters.{number}" for number in range(3)]


def publish(url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    for queue in QUEUES:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", queue, queue.encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


def what_lies_in(url: str) -> list[bytes]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    found = [channel.basic_get(queue, auto_ack=True)[2] for queue in QUEUES]
    connection.close()
    return found


def test_a_node_killed_right_after_a_declaration_keeps_confirmed_messages(rabbitmq: Node, amqp_url: str) -> None:
    publish(amqp_url)
    rabbitmq.kill()
    rabbitmq.start()
    assert what_lies_in(amqp_url) == [queue.encode() for queue in QUEUES]
    # what was added is known to the node itself from now on
    rabbitmq.kill()
    assert rabbitmq_names.missing(rabbitmq.folder / "data") == {}
    rabbitmq.start()


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """As a node leaves it, with one queue known; the file's time is a round number."""
    folder = tmp_path / "node@localhost" / "quorum" / "node@localhost"
    folder.mkdir(parents=True)
    names = folder / "names.dets"
    names.write_bytes(b"...KNOWN0123...")
    os.utime(names, (1_000_000, 1_000_000))
    return names


def queue_folder(names: Path, uid: str, time: int) -> Path:
    config = names.with_name(uid) / "config"
    config.parent.mkdir()
    config.write_text(f"#{{id => {{'letters',node@localhost}},uid => <<\"{uid}\">>}}.")
    os.utime(config, (time, time))
    return config


def test_only_what_is_younger_than_the_file_is_missing(names: Path, tmp_path: Path) -> None:
    queue_folder(names, "KNOWN0123", 1_000_010)
    queue_folder(names, "DELETED45", 999_990)
    older = queue_folder(names, "LOST67890", 999_999)
    newer = queue_folder(names, "LOSTABCDE", 1_000_020)
    assert rabbitmq_names.missing(tmp_path) == {names: [newer, older]}


def test_a_folder_without_queues_lacks_nothing(tmp_path: Path) -> None:
    assert rabbitmq_names.missing(tmp_path) == {}
    assert rabbitmq_names.add_missing(tmp_path, ["no-such-program"], {}) == []


@pytest.mark.parametrize("erl", ["no-such-program", "false"])
def test_what_cannot_be_added_stops_the_start(names: Path, tmp_path: Path, erl: str) -> None:
    queue_folder(names, "LOST67890", 1_000_010)
    with pytest.raises(LocalError, match=r"names\.dets lacks queues"):
        rabbitmq_names.add_missing(tmp_path, [erl], dict(os.environ))
