"""What users with few rights cannot mend at the broker is said where people look, with the command that mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from crm_api.monitoring import alarms
from crm_api.reconciliation import job
from local.rabbitmq import Node
from shared.amqp import AccessRefused, NotThere, depths, walk_queue
from shared.topology import DEAD_QUEUE
from tests.support.broker import Users, make_users
from tests.support.crm import Crm
from tests.support.reconciling import comparing
from tests.support.stack import EMAIL, PASSWORD, Stack, stack
from tests.support.waiting import wait_until

COMMAND = "python -m crm_api broker"


@pytest.fixture
def users(rabbitmq: Node, amqp_url: str) -> Users:
    return make_users(rabbitmq, amqp_url)


@pytest.fixture(autouse=True)
def no_alarms() -> Iterator[None]:
    yield
    for alarm in alarms.own():
        alarms.clear(alarm.kind)


def give(users: Users, user: str, **rights: str) -> None:
    before = next(
        each for each in users.node.management.get("users", user, "permissions") if each["vhost"] == users.vhost
    )
    kept = {name: before[name] for name in ("configure", "write", "read")}
    users.node.management.put("permissions", users.vhost, user, body=kept | rights)


def said(house: Stack) -> dict[str, dict[str, Any]]:
    with house.api() as api:
        return {each["kind"]: each for each in api.get("/api/v1/system").json()["alarms"]}


@pytest.mark.parametrize("queue", ["mail.send.urgent.v1", "crm.outcomes.v1", "mail.wait.4h.v1", "mail.dead.v1"])
def test_a_queue_that_was_deleted(queue: str, users: Users, tmp_path: Path) -> None:
    """Whichever it is; and once it is there again, the message that waited is sent and nothing is said any more."""
    database = f"sqlite:///{tmp_path}/crm.sqlite"
    with stack(tmp_path / "data", database, users.url("dispatch"), reconcile_seconds=1) as house:
        house.start("sandbox", "web", "dispatch")
        house.environment["POSTHASTE_AMQP_URL"] = users.url("mailroom")
        house.start("mailroom")
        users.node.management.delete("queues", users.vhost, queue)
        with house.api() as api:
            draft = {"to": [{"email": "ida@example.com"}], "subject": "Saplings", "text": "They leave."}
            made = api.post("/api/v1/messages", json=draft).json()["id"]
            kind = f"queue {queue}"
            alarm = wait_until(lambda: said(house).get(kind), f"the alarm for {queue}")
            assert queue in alarm["sentence"]
            assert COMMAND in alarm["advice"]
            assert COMMAND in page(house, "/reconciliation")

            make_users(users.node, users.url("dispatch"), users.passwords)
            done = api.get(f"/api/v1/messages/{made}", params={"wait": 60}).json()
            assert done["deliveries"][0]["state"] == "accepted"
            wait_until(lambda: kind not in said(house), "the alarm to end")


def page(house: Stack, path: str) -> str:
    with httpx2.Client(base_url=house.url, follow_redirects=True) as client:
        client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers={"Origin": house.url})
        return client.get(path).text


async def test_the_broker_says_why_a_channel_is_closed(users: Users) -> None:
    urls = [users.url("dispatch")]
    with pytest.raises(NotThere, match=r"mail\.no\.such\.v1"):
        await depths(urls, ["mail.no.such.v1"])
    assert await depths(urls, [DEAD_QUEUE]) == {DEAD_QUEUE: 0}


async def test_dead_letters_that_may_not_be_read(users: Users, crm: Crm) -> None:
    """Refused by a real broker: a right that this version asks for is not there."""
    give(users, "dispatch", read="^$")
    crm.send("ida@example.com")
    url = users.url("dispatch")
    async with comparing(crm, url, reconcile_seconds=0.1) as comparison:
        publish(users)
        with pytest.raises(AccessRefused):
            await walk_queue([url], DEAD_QUEUE)
        task = asyncio.create_task(comparison.reconciler.run())
        while not alarms.own():
            comparison._forget_turn()
            await asyncio.sleep(0.05)
        (alarm,) = alarms.own()
        assert alarm.kind == "broker-rights"
        assert COMMAND in alarm.advice
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        make_users(users.node, url, users.passwords)
        await comparison.look()
        assert alarms.own() == ()


def publish(users: Users) -> None:
    """Something in the dead letters that nobody knows, so that they are looked through."""
    message = {"properties": {}, "routing_key": "dead.event", "payload": "x", "payload_encoding": "string"}
    users.node.management.post("exchanges", users.vhost, "mail.dlx", "publish", body=message)


async def test_lengths_that_may_not_be_asked_for(users: Users, crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RabbitMQ 4.3 refuses it to users made for an older one; 3.10, which the tests have, asks for no right."""

    async def refused(*_: object) -> dict[str, int]:
        raise AccessRefused("(403, \"ACCESS_REFUSED - configure access to queue 'mail.send.urgent.v1' refused\")")

    async with comparing(crm, users.url("dispatch")) as comparison:
        monkeypatch.setattr(job, "depths", refused)
        figures = await comparison.look()
        assert (figures.reached, figures.obstacle) == (False, "refused")
        (alarm,) = alarms.own()
        assert (alarm.kind, COMMAND in alarm.advice) == ("broker-rights", True)
        monkeypatch.setattr(job, "depths", depths)
        figures = await comparison.look()
        assert (figures.reached, figures.obstacle) == (True, "")
        assert alarms.own() == ()


async def test_who_may_declare_heals_it_and_says_nothing(amqp_url: str, rabbitmq: Node, crm: Crm) -> None:
    make_users(rabbitmq, amqp_url)
    async with comparing(crm, amqp_url) as comparison:
        rabbitmq.management.delete("queues", amqp_url.rpartition("/")[2], "mail.wait.2m.v1")
        assert (await comparison.look()).reached
    assert alarms.own() == ()
