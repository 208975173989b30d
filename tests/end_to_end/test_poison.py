"""Events that would have stopped dispatch for ever: it goes on, says what it set aside, and is still there after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pika
import pytest

from local.rabbitmq import Node
from shared.clock import now
from shared.contracts import Heartbeat, Outcome, OutcomeBatch, OutcomeKind
from shared.lanes import Lane
from shared.topology import CONTROL, EVENTS, HEARTBEAT_KEY, OUTCOME_KEY
from tests.support.databases import Template
from tests.support.stack import Stack, stack
from tests.support.vhosts import Vhosts
from tests.support.waiting import wait_until


@pytest.fixture(params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path: Path, database_template: Template, rabbitmq: Node, vhosts: Vhosts
) -> Iterator[tuple[Stack, str]]:
    """Without a mail room: what it would say is said here."""
    if request.param == "sqlite":
        url = database_template.copy_sqlite(tmp_path / "posthaste.sqlite")
    else:
        request.getfixturevalue("postgresql")
        url = database_template.copy_postgresql()
    vhost = vhosts.make()
    amqp_url = rabbitmq.url_for(vhost)
    with stack(tmp_path / "data", url, amqp_url, RECONCILE_SECONDS=1) as made:
        made.start("web", "dispatch")
        yield made, amqp_url
        assert set(made.stop().values()) == {0}, "nothing has ended by itself"
    vhosts.leave(vhost)
    if request.param == "postgresql":
        database_template.drop_postgresql(url)


def say(amqp_url: str, exchange: str, key: str, kind: str, *bodies: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        for number, body in enumerate(bodies):
            properties = pika.BasicProperties(type=kind, message_id=f"{key} {number}", delivery_mode=2)
            channel.basic_publish(exchange, key, body, properties)


def outcome(delivery: dict[str, str], **members: object) -> dict[str, object]:
    at = now()
    made = Outcome(
        delivery=delivery["id"],  # type: ignore[arg-type]
        generation=1,
        attempt=1,
        lane=Lane.urgent,
        kind=OutcomeKind.accepted,
        phase="dot",
        reason="Taken.",
        worker="north/1",
        host="north",
        received_at=at,
        finished_at=at,
    )
    return msgspec.to_builtins(made) | members  # type: ignore[no-any-return]


def beat(**members: object) -> bytes:
    at = now().isoformat()
    figures = dict.fromkeys(("in_flight", "accepted", "deferred", "failed", "unknown"), 0)
    usual = {"room": "north", "worker": 1, "workers": 1, "host": "north", "pid": 1, "at": at, "started_at": at}
    return json.dumps(usual | figures | members).encode()


def system(api: httpx2.Client) -> dict[str, object]:
    found: dict[str, object] = api.get("/api/v1/system").json()
    return found


def test_nothing_that_comes_stops_it(house: tuple[Stack, str]) -> None:
    made, amqp_url = house
    with made.api() as api:
        draft = {"to": [{"email": f"r{n}@example.com"} for n in range(3)], "subject": "Saplings", "text": "Soon."}
        message = api.post("/api/v1/messages", json=draft).json()
        path = f"/api/v1/messages/{message['id']}"
        wait_until(lambda: api.get(path).json()["counts"]["queued"] == 3, "all lie in the lane")
        first, second, third = message["deliveries"]
        batches = [
            [outcome(first), outcome(second, attempt=2**63)],
            [outcome(second, finished_at="2026-11-27T12:00:00")],
            [outcome(second, reason="a\0b")],
            [outcome(third)],
        ]
        bodies = [json.dumps({"outcomes": batch}).encode() for batch in batches]
        say(amqp_url, EVENTS, OUTCOME_KEY, OutcomeBatch.TYPE, b"[" * 50_000, b'{"outcomes": ["\xff"]}', *bodies)
        wait_until(lambda: api.get(path).json()["counts"]["accepted"] == 2, "the good ones are applied", seconds=60)

        def strangers() -> dict[str, str]:
            found = api.get("/api/v1/reconciliation").json()["strangers"]
            return {one["key"]: one["why"] for one in found}

        wait_until(lambda: len(strangers()) == 5, "the others lie in the dead letters, with the reason", seconds=60)
        assert all(strangers().values())
        assert "attempt" in strangers()["outcome 2"]

        bad = [beat(at="2026-11-27T12:00:00"), beat(worker=2**70), beat(room="\0"), b"{"]
        say(amqp_url, CONTROL, HEARTBEAT_KEY, Heartbeat.TYPE, *bad, *(beat(room=f"x{n}") for n in range(800)))
        say(amqp_url, CONTROL, HEARTBEAT_KEY, Heartbeat.TYPE, beat())
        wait_until(lambda: system(api)["dispatch_up"], "dispatch is there")
        wait_until(lambda: int(str(system(api)["mail_room_up"])) >= 1, "and hears the next heartbeats")
        assert int(str(system(api)["mail_room_up"])) <= 500
        made.stop("dispatch")
        made.start("dispatch")
        say(amqp_url, EVENTS, OUTCOME_KEY, OutcomeBatch.TYPE, json.dumps({"outcomes": [outcome(second)]}).encode())
        wait_until(lambda: api.get(path).json()["counts"]["accepted"] == 3, "it works after a restart", seconds=60)
