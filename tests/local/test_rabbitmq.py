"""A private RabbitMQ node: reachable by its own user only, on this machine only, and it keeps what it has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
from pathlib import Path

import pika
import pytest

from local.errors import LocalError
from local.management import Management
from local.rabbitmq import Node
from tests.support.processes import alive, can_see_marks, listening_addresses, new_mark
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def test_the_console_takes_its_own_user_only(rabbitmq: Node) -> None:
    names = {user["name"] for user in rabbitmq.management.get("users")}
    assert rabbitmq.user in names
    assert "guest" not in names  # others are those of tests that try what users may
    for name, password in (("guest", "guest"), (rabbitmq.user, "guessed")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            Management(rabbitmq.management_url, name, password).get("overview")
        with refused.value as answer:
            assert answer.code == 401


def test_guest_cannot_connect(rabbitmq: Node) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}/%2F"
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(pika.URLParameters(url))


@pytest.mark.skipif(not can_see_marks, reason="reads /proc, which is Linux only")
def test_kill_9_of_its_owner_leaves_nothing_and_it_listens_on_loopback_only(rabbitmq: Node, tmp_path: Path) -> None:
    # The session's node shows that there is a RabbitMQ to be had; this one belongs to another process.
    mark = new_mark()
    script = (
        "import sys, pathlib; from local.rabbitmq import Node\n"
        "node = Node(pathlib.Path(sys.argv[1])); node.start(); print('up', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "node")],
        cwd=ROOT,
        env=os.environ | mark,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        running = alive(mark)
        assert any("beam" in command for command in running.values())
        assert any("epmd" in command for command in running.values())
        assert listening_addresses(set(running)) <= LOOPBACK
        owner.kill()
    wait_until(lambda: not alive(mark), f"everything gone, but there is {alive(mark)}", seconds=10)


def test_the_second_start_finds_the_messages_of_the_first(rabbitmq: Node, amqp_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare("letters", durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    channel.basic_publish("", "letters", b"kept", pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()
    before = (rabbitmq.amqp_url, rabbitmq.management_url)

    rabbitmq.stop()
    assert not rabbitmq.is_running()
    with pytest.raises(LocalError):
        _ = rabbitmq.pid
    rabbitmq.start()

    assert (rabbitmq.amqp_url, rabbitmq.management_url) == before
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()

    def body() -> bytes | None:
        _, _, found = channel.basic_get("letters", auto_ack=True)
        return None if found is None else bytes(found)

    assert wait_until(body, "the message of before the restart") == b"kept"
    connection.close()


def test_what_it_writes_is_private(rabbitmq: Node) -> None:
    assert rabbitmq.folder.stat().st_mode & 0o077 == 0
    for name in ("node.json", "rabbitmq.conf"):
        assert (rabbitmq.folder / name).stat().st_mode & 0o077 == 0


def test_two_nodes_never_share_a_name_a_port_or_a_password(tmp_path: Path) -> None:
    one, two = Node(tmp_path / "one"), Node(tmp_path / "two")
    for fact in ("name", "port", "management_port", "password"):
        assert getattr(one, fact) != getattr(two, fact)
    again = Node(tmp_path / "one")
    assert (again.name, again.port, again.password) == (one.name, one.port, one.password)


def test_a_node_that_cannot_start_says_why(rabbitmq: Node, tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    (node.folder / "data").mkdir(parents=True)
    (node.folder / "data" / node.name).write_text("in the way of the data folder")
    with pytest.raises(LocalError, match="RabbitMQ ended with exit code"):
        node.start()
    assert not node.is_running()


def test_a_machine_without_localhost_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> object:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(LocalError, match="/etc/hosts"):
        Node(tmp_path).begin()
