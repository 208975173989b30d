"""What each of the broker's users may do, tried out on a real one: all that is needed, and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError

from local.rabbitmq import Node
from shared import topology
from shared.amqp_link import ACCESS_REFUSED
from tests.support.broker import Users, make_users
from tests.support.smtp_server import SmtpServer, in_thread
from tests.support.stack import stack
from tests.support.waiting import wait_until

USERS = ("dispatch", "mailroom", "console")
LANES = {"mail.send.urgent.v1", "mail.send.normal.v1", "mail.send.bulk.v1"}
WAITS = {f"mail.wait.{step}.v1" for step in ("30s", "2m", "10m", "30m", "1h", "4h")}
# written out, not computed: the table that is tested is computed
MAY_PUBLISH = {
    "dispatch": {("mail.cmd", "send.urgent"), ("mail.cmd", "send.normal"), ("mail.cmd", "send.bulk")},
    "mailroom": {("mail.evt", "outcome"), ("mail.evt", "started"), ("mail.ctl", "heartbeat")}
    | {(name, "send.normal") for name in WAITS},
    "console": set(),
}
MAY_READ = {"dispatch": {"crm.outcomes.v1", "mail.dead.v1"}, "mailroom": LANES, "console": set()}
KEYS = ("send.urgent", "send.normal", "send.bulk", "outcome", "started", "heartbeat", "dead.normal", "anything")
EXCHANGES = (*(each.name for each in topology.EXCHANGES), "", "amq.topic", "amq.fanout")
QUEUES = [each.name for each in topology.QUEUES]


@pytest.fixture(scope="module")
def users(rabbitmq: Node, vhosts: Any) -> Iterator[Users]:
    vhost = vhosts.make()
    yield make_users(rabbitmq, rabbitmq.url_for(vhost))
    vhosts.leave(vhost)


class Tried:
    """Verbs of one user, each on a channel that is still open."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel: Any = None

    def may(self, verb: Callable[[Any], object]) -> bool:
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        try:
            verb(self._channel)
        except ChannelClosedByBroker as problem:
            if problem.reply_code != ACCESS_REFUSED:
                raise
            return False
        return True

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tried(users: Users, user: str) -> Iterator[Tried]:
    with closing(Tried(users.url(user))) as tried:
        yield tried


def test_publishing(tried: Tried, user: str) -> None:
    def publish(exchange: str, key: str) -> bool:
        return tried.may(lambda channel: channel.basic_publish(exchange, key, b"x"))

    # a wait exchange has no keys: one will do
    tries = {(name, key) for name in EXCHANGES for key in (("send.normal",) if name in WAITS else KEYS)}
    assert {each for each in tries if publish(*each)} == MAY_PUBLISH[user]


def test_reading(tried: Tried, user: str) -> None:
    assert {queue for queue in QUEUES if tried.may(lambda channel: channel.basic_get(queue))} == MAY_READ[user]  # noqa: B023
    assert {queue for queue in QUEUES if tried.may(lambda channel: channel.queue_purge(queue))} == MAY_READ[user]  # noqa: B023


def test_nobody_changes_what_there_is(tried: Tried, user: str) -> None:
    verbs: list[Callable[[Any], object]] = []
    for queue in topology.QUEUES:
        verbs += [
            lambda channel, queue=queue: channel.queue_declare(queue.name, durable=True, arguments=queue.arguments),
            lambda channel, queue=queue: channel.queue_delete(queue.name),
            lambda channel, queue=queue: channel.queue_bind(queue.name, "mail.evt", "#"),
            lambda channel, queue=queue: channel.queue_bind(queue.name, "mail.cmd", "#"),
            lambda channel, queue=queue: channel.queue_unbind(queue.name, *queue.bindings[0]),
        ]
    for exchange in topology.EXCHANGES:
        verbs += [
            lambda channel, name=exchange.name, kind=exchange.type: channel.exchange_declare(name, kind, durable=True),
            lambda channel, name=exchange.name: channel.exchange_delete(name),
            lambda channel, name=exchange.name: channel.exchange_bind(name, "mail.cmd", "#"),
        ]
    verbs += [
        lambda channel: channel.queue_declare("mine", durable=True),
        lambda channel: channel.queue_declare("mail.send.normal.v2", durable=True),
        lambda channel: channel.exchange_declare("mine"),
    ]
    assert [number for number, verb in enumerate(verbs) if tried.may(verb)] == []


def test_only_dispatch_has_a_queue_of_its_own_and_hears_heartbeats_only(tried: Tried, user: str) -> None:
    def listen(exchange: str, key: str) -> Callable[[Any], object]:
        def verb(channel: Any) -> None:
            name = channel.queue_declare("", exclusive=True, arguments={"x-queue-type": "classic"}).method.queue
            channel.queue_bind(name, exchange, key)
            channel.basic_get(name)

        return verb

    tries = {(name, key) for name in EXCHANGES if name for key in ("heartbeat", "outcome", "#")}
    allowed = {each for each in tries if tried.may(listen(*each))}
    assert allowed == ({("mail.ctl", "heartbeat")} if user == "dispatch" else set())


def test_how_long_a_queue_is_may_be_asked_by_dispatch(users: Users) -> None:
    with closing(Tried(users.url("dispatch"))) as tried:
        assert all(tried.may(lambda channel: channel.queue_declare(queue, passive=True)) for queue in QUEUES)  # noqa: B023


def test_web_is_nobody_there_and_dispatch_nobody_elsewhere(users: Users) -> None:
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(users.url("dispatch").replace("dispatch", "web")))
    elsewhere = users.url("dispatch").rpartition("/")[0] + "/%2F"
    with pytest.raises(ProbableAccessDeniedError):
        pika.BlockingConnection(pika.URLParameters(elsewhere))


def test_the_console_sees_queues_and_no_letters(users: Users) -> None:
    console = users.console("console")
    assert {queue["name"] for queue in console.get("queues", users.vhost)} >= set(QUEUES)
    get = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    publish = {"properties": {}, "routing_key": "send.normal", "payload": "x", "payload_encoding": "string"}
    for verb in (
        lambda: console.post("queues", users.vhost, "mail.dead.v1", "get", body=get),
        lambda: console.post("exchanges", users.vhost, "mail.cmd", "publish", body=publish),
        lambda: console.delete("queues", users.vhost, "mail.dead.v1"),
        lambda: console.delete("queues", users.vhost, "mail.dead.v1", "contents"),
        lambda: console.get("users"),
        lambda: console.put("users", "eve", body={"password": "x", "tags": "administrator"}),
        lambda: console.get("definitions"),
    ):
        with pytest.raises(HTTPError) as refused:
            verb()
        with refused.value as answer:
            assert answer.code in (401, 403) or b"ACCESS_REFUSED" in answer.read(), answer.code
    for user in ("dispatch", "mailroom"):  # no tag: the console is closed to them
        with pytest.raises(HTTPError):
            users.console(user).get("overview")


def test_setting_up_again_changes_nothing_but_passwords(rabbitmq: Node, users: Users) -> None:
    before = rabbitmq.management.get("definitions", users.vhost)
    again = make_users(rabbitmq, users.url("dispatch"))
    after = rabbitmq.management.get("definitions", users.vhost)
    for room in ("queues", "exchanges", "bindings"):
        assert sorted(map(str, after[room])) == sorted(map(str, before[room]))
    with closing(Tried(again.url("mailroom"))) as tried:
        assert tried.may(lambda channel: channel.basic_get("mail.send.bulk.v1"))
    users.passwords.update(again.passwords)


def test_the_product_runs_with_these_rights(rabbitmq: Node, amqp_url: str, database_url: str, tmp_path: Path) -> None:
    """Sent, deferred by way of a wait queue, failed, and resolved: taken out of the dead letters again."""
    users = make_users(rabbitmq, amqp_url)
    nowhere = "amqp://nobody:nothing@127.0.0.1:1/"
    with (
        in_thread(SmtpServer()) as server,
        stack(
            tmp_path / "data",
            database_url,
            nowhere,
            smtp_url=f"smtp://127.0.0.1:{server.port}?tls=none",
            ledger_url=f"sqlite:///{tmp_path / 'ledger.sqlite'}",
            retry_scale=0.005,
        ) as house,
    ):
        for part, url in (("web", nowhere), ("dispatch", users.url("dispatch")), ("mailroom", users.url("mailroom"))):
            house.environment["POSTHASTE_AMQP_URL"] = url
            house.start(part)
        server.answer("rcpt", "450 4.2.1 later", recipient="later@example.com")
        server.answer("rcpt", "550 5.1.2 no", recipient="never@example.com", always=True)
        with house.api() as api:
            to = [{"email": f"{name}@example.com"} for name in ("at.once", "later", "never")]
            draft = {"to": to, "subject": "Saplings", "text": "They leave on Thursday."}
            made = api.post("/api/v1/messages", json=draft).json()
            done = api.get(f"/api/v1/messages/{made['id']}", params={"wait": 60}).json()
            states = {each["address"].partition("@")[0]: each["state"] for each in done["deliveries"]}
            assert states == {"at.once": "accepted", "later": "accepted", "never": "failed"}

            def dead() -> int:
                return int(rabbitmq.management.get("queues", users.vhost, "mail.dead.v1").get("messages", -1))

            wait_until(lambda: dead() == 1, "the failed one lies among the dead letters")
            (failed,) = [each["id"] for each in done["deliveries"] if each["state"] == "failed"]
            api.post(f"/api/v1/deliveries/{failed}/discard")
            wait_until(lambda: dead() == 0, "the discarded one is taken out")
            wait_until(lambda: api.get("/api/v1/system").json()["mail_room_up"] == 1, "heartbeats are heard")
        for part in ("dispatch", "mailroom"):
            assert "ACCESS_REFUSED" not in house.log(part)
            assert "Traceback" not in house.log(part)
