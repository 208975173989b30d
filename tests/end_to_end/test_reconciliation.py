"""What a broker loses by an operator's mistake is found and sent, each letter exactly once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pika
import pytest

from local.rabbitmq import Node
from shared.lanes import Lane
from shared.topology import DEAD_QUEUE, OUTCOMES_QUEUE, lane_queue, wait_exchange
from tests.support.databases import Template
from tests.support.reconciling import purge
from tests.support.stack import Stack, stack
from tests.support.vhosts import Vhosts
from tests.support.waiting import wait_until

COUNT = 20


@dataclass
class House:
    stack: Stack
    amqp_url: str

    def depth(self, queue: str) -> int:
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def arrived(self, api: httpx2.Client) -> Counter[str]:
        """Recipient → how many mails."""
        mails = api.get("/api/v1/sandbox/messages?limit=200").json()["items"]
        return Counter(address for mail in mails for address in mail["envelope_to"])


@pytest.fixture(params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path: Path, database_template: Template, rabbitmq: Node, vhosts: Vhosts
) -> Iterator[House]:
    if request.param == "sqlite":
        url = database_template.copy_sqlite(tmp_path / "posthaste.sqlite")
    else:
        request.getfixturevalue("postgresql")
        url = database_template.copy_postgresql()
    vhost = vhosts.make()
    amqp_url = rabbitmq.url_for(vhost)
    # waits of six seconds; a comparison a second, and what is missing for three is requeued
    settings = {"RETRY_SCALE": 0.2, "RECONCILE_SECONDS": 1, "REQUEUE_MINUTES": 0.05}
    with stack(tmp_path / "data", url, amqp_url, **settings) as made:
        made.start("web", "dispatch", "sandbox")
        yield House(made, amqp_url)
        assert set(made.stop().values()) == {0}
    vhosts.leave(vhost)
    if request.param == "postgresql":
        database_template.drop_postgresql(url)


def send(api: httpx2.Client, *to: str) -> str:
    draft = {"to": [{"email": address} for address in to], "subject": "Saplings", "text": "On Thursday."}
    answer = api.post("/api/v1/messages", json=draft)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def counts(api: httpx2.Client, message: str) -> dict[str, int]:
    found: dict[str, int] = api.get(f"/api/v1/messages/{message}").json()["counts"]
    return {state: count for state, count in found.items() if count and state != "planned"}


def test_purged_queues_end_with_every_letter_sent_once(house: House) -> None:
    with house.stack.api() as api:
        # the lane, before anybody took a letter
        to = [f"r{number}@example.com" for number in range(COUNT)]
        first = send(api, *to)
        wait_until(lambda: counts(api, first) == {"queued": COUNT}, "all lie in the lane")
        assert purge(house.amqp_url, lane_queue(Lane.urgent)) == COUNT
        house.stack.start("mailroom")
        wait_until(lambda: counts(api, first) == {"accepted": COUNT}, "all are sent in the end", seconds=60)

        # the wait queue, after their servers asked to wait
        late = [f"flaky-1-{number}@example.com" for number in range(COUNT)]
        second = send(api, *late)
        wait_until(lambda: house.depth(wait_exchange("30s")) == COUNT, "all wait for their second try", every=0.02)
        assert purge(house.amqp_url, wait_exchange("30s")) == COUNT
        wait_until(lambda: counts(api, second) == {"accepted": COUNT}, "their second try has come", seconds=60)
        deliveries = api.get(f"/api/v1/deliveries?message_id={second}&limit=200").json()["items"]
        assert {row["attempt"] for row in deliveries} == {2}

        assert house.arrived(api) == Counter(to + late)

        found = api.get("/api/v1/reconciliation/findings").json()["items"]
        assert sum(row["count"] for row in found if row["kind"] == "requeued") >= 2 * COUNT
        wait_until(lambda: api.get("/api/v1/reconciliation").json()["differences"] == 0, "everything adds up")


def test_lost_outcomes_are_asked_for_and_no_letter_is_sent_twice(house: House) -> None:
    with house.stack.api() as api:
        good = [f"r{number}@example.com" for number in range(COUNT)]
        bad = [f"smtp-550-{number}@example.com" for number in range(3)]
        message = send(api, *good, *bad)
        wait_until(lambda: counts(api, message) == {"queued": COUNT + 3}, "all lie in the lane")
        house.stack.stop("dispatch")
        house.stack.start("mailroom")
        wait_until(lambda: house.arrived(api).total() == COUNT, "all are sent")
        wait_until(lambda: house.depth(DEAD_QUEUE) == 3, "the others are given up")
        wait_until(lambda: house.depth(lane_queue(Lane.urgent)) == 0, "the lane is empty")
        assert purge(house.amqp_url, OUTCOMES_QUEUE)
        house.stack.start("dispatch")
        wait_until(lambda: counts(api, message) == {"accepted": COUNT, "failed": 3}, "the ledger has told", seconds=60)
        assert house.arrived(api) == Counter(good)
        wait_until(lambda: api.get("/api/v1/reconciliation").json()["differences"] == 0, "everything adds up")
        assert house.depth(DEAD_QUEUE) == 3
