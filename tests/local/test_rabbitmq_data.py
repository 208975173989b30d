"""A private node that finds the data of another RabbitMQ sets them aside, and nothing that was under way is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import rabbitmq_data, rabbitmq_programs
from local.errors import LocalError
from local.rabbitmq import Node
from local.remembered import Remembered
from tests.support.stack import stack
from tests.support.waiting import wait_until

# as RabbitMQ 4.0.5 of Debian 13 says it of the data of 3.10.8 of Debian 12
LAST_WORDS = """\
[error] <0.216.0> Feature flags: `stream_single_active_consumer`: required feature flag not enabled! It must be enabled
[error] <0.216.0> Failed to initialize feature flags registry: {disabled_required_feature_flag,
[error] <0.216.0> BOOT FAILED
[error] <0.216.0> Error during startup: {error,failed_to_initialize_feature_flags_registry}
"""
OTHER_WORDS = "BOOT FAILED\nError during startup: {error,eaddrinuse}\n"


@pytest.mark.parametrize(
    ("written_by", "program", "readable"),
    [
        *((old, new, True) for old, new in (("3.10.8", "3.10.25"), ("3.13.7", "4.0.5"), ("4.0.5", "4.3.6"))),
        *((old, new, True) for old, new in (("", "4.0.5"), ("3.10.8", ""), ("4.2", "4.2.1"), ("3.10.8", "3.10.7"))),
        *((old, new, False) for old, new in (("3.10.8", "4.0.5"), ("3.12.14", "4.2"), ("4.0.5", "3.13.7"))),
        *((old, new, False) for old, new in (("4.3.6", "4.0.5"), ("3.11.2", "3.10.8"), ("10.0.1", "9.0.0"))),
    ],
)
def test_what_a_version_can_read(written_by: str, program: str, readable: bool) -> None:
    assert rabbitmq_data.readable(written_by, program) is readable


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin/rabbitmq-server", "3.10.8"),
        ("opt/homebrew/Cellar/rabbitmq/4.2.0/sbin/rabbitmq-server", "4.2.0"),
        ("opt/rabbitmq/sbin/rabbitmq-server", ""),
    ],
)
def test_the_version_of_a_program(path: str, version: str, tmp_path: Path) -> None:
    server = tmp_path / path
    server.parent.mkdir(parents=True)
    server.touch()
    assert rabbitmq_data.of_programs(server) == version


def test_the_version_of_a_program_that_lies_beside_its_folder(tmp_path: Path) -> None:
    """As on Debian: bin/rabbitmq-server is a script, and lib/ holds what it starts."""
    for version in ("3.9.13", "3.10.8"):
        (tmp_path / f"lib/rabbitmq_server-{version}").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rabbitmq-server").touch()
    assert rabbitmq_data.of_programs(tmp_path / "bin/rabbitmq-server") == "3.10.8"


Another = Callable[[str, str], rabbitmq_programs.Programs]


@pytest.fixture
def another(rabbitmq: Node, tmp_path: Path) -> Another:
    """A RabbitMQ that calls itself so, and ends with these words when it finds what another one has written."""

    def make(name: str, words: str) -> rabbitmq_programs.Programs:
        real = rabbitmq_programs.find()
        assert real.server is not None
        server = tmp_path / name / "sbin" / "rabbitmq-server"
        server.parent.mkdir(parents=True)
        server.write_text(
            f'#!/bin/sh\nif [ -e "$RABBITMQ_MNESIA_BASE/of-another" ]; then\ncat <<"END"\n{words}END\nexit 1\nfi\n'
            f'exec "{real.server}" "$@"\n'
        )
        server.chmod(0o755)
        return dataclasses.replace(real, server=server)

    return make


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "rabbitmq")
    yield node
    node.kill()


def with_older_data(node: Node, version: str) -> None:
    (node.folder / "data").mkdir(parents=True)
    (node.folder / "data" / "of-another").touch()
    if version:
        Remembered(node.folder / "node.json").put("version", version)


def test_words_of_another_version(another: Another, tmp_path: Path) -> None:
    """Nobody knows the versions: the node is tried, and what it says decides."""
    said: list[str] = []
    node = Node(tmp_path / "rabbitmq", say=said.append)
    with_older_data(node, "")
    node._programs = another("unknown", LAST_WORDS)
    try:
        node.start()
        assert node.management.answers()
    finally:
        node.kill()
    (aside,) = node.folder.glob("data-of-*")
    assert (aside / "of-another").exists()
    (sentence,) = said
    assert str(aside) in sentence
    assert "requeued" in sentence


def test_words_of_something_else_set_nothing_aside(another: Another, node: Node) -> None:
    with_older_data(node, "")
    node._programs = another("unknown", OTHER_WORDS)
    with pytest.raises(LocalError, match="eaddrinuse"):
        node.start()
    assert not list(node.folder.glob("data-of-*"))
    assert (node.folder / "data" / "of-another").exists()


@pytest.mark.parametrize("known_by", ["what was written down", "its log"])
def test_what_was_under_way_is_sent_after_an_upgrade(
    another: Another, known_by: str, database_template: object, tmp_path: Path
) -> None:
    """A message lies in a lane and one among the dead letters when the machine goes from 3.10 to 4.0."""
    said: list[str] = []
    node = Node(tmp_path / "rabbitmq", say=said.append)
    node.start()
    try:
        data = tmp_path / "data"
        with stack(
            *(data, f"sqlite:///{data}/crm.sqlite", node.amqp_url),
            reconcile_seconds=1,
            requeue_minutes=0.02,
        ) as house:
            house.start("sandbox", "web", "dispatch", "mailroom")
            with house.api() as api:

                def send(to: str) -> str:
                    draft = {"to": [{"email": to}], "subject": "Saplings", "text": "They leave on Thursday."}
                    return str(api.post("/api/v1/messages", json=draft).json()["id"])

                def state(message: str, wait: int = 0) -> str:
                    found = api.get(f"/api/v1/messages/{message}", params={"wait": wait}).json()
                    return str(found["deliveries"][0]["state"])

                def length(queue: str) -> int:
                    return int(node.management.get("queues", "/", queue).get("messages", -1))

                refused = send("smtp-550@example.com")
                assert state(refused, 60) == "failed"
                house.stop("mailroom")
                under_way = send("ida@example.com")
                wait_until(
                    lambda: length("mail.send.urgent.v1") + length("mail.send.normal.v1") == 1, "it to be queued"
                )
                wait_until(lambda: length("mail.dead.v1") == 1, "the refused one to be among the dead letters")
                assert state(under_way) == "queued"
                house.stop("dispatch")
                node.stop()

                if known_by == "its log":  # data from before versions were written down
                    Remembered(node.folder / "node.json").put("version", "")
                later = Node(node.folder, say=said.append)
                later._programs = another("rabbitmq_server-4.0.5", LAST_WORDS)
                node = later
                node.start()
                assert len(list(node.folder.glob("data-of-3.1*"))) == 1
                assert "were made by RabbitMQ 3.1" in said[-1]
                assert Remembered(node.folder / "node.json").get("version", str) == "4.0.5"

                house.environment["POSTHASTE_AMQP_URL"] = node.amqp_url
                house.start("dispatch", "mailroom")
                assert state(under_way, 60) == "accepted"
                wait_until(lambda: length("mail.dead.v1") == 1, "the failure to have its dead letter again")
                mails = api.get("/api/v1/sandbox/messages").json()["items"]
                assert len(mails) == 1
    finally:
        node.kill()
