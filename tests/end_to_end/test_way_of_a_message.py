"""A message over the API through database, dispatch, broker, mail room and SMTP, all of them real processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.rabbitmq import Node
from shared.topology import DEAD_QUEUE
from tests.support.stack import Stack, stack
from tests.support.waiting import wait_until


@pytest.fixture
def running(tmp_path: Path, database_url: str, amqp_url: str) -> Iterator[Stack]:
    with stack(tmp_path / "data", database_url, amqp_url, RETRY_SCALE=0.01) as made:
        made.start()
        yield made
        assert made.stop() == dict.fromkeys(("web", "dispatch", "sandbox", "mailroom"), 0)


def send(api: httpx2.Client, to: str, **members: Any) -> dict[str, Any]:
    draft = {"to": [{"email": to, "name": "Ada"}], "subject": "Saplings", "markdown": "On **Thursday**."} | members
    answer = api.post("/api/v1/messages", json=draft)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def done(api: httpx2.Client, message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/messages/{message['id']}?wait=60").json()
    assert found["done_at"], found
    return found


def detail(api: httpx2.Client, message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/deliveries/{message['deliveries'][0]['id']}").json()
    return found


def dead(node: Node, amqp_url: str) -> int:
    """How many messages the management console shows in mail.dead.v1."""
    return int(node.management.get("queues", amqp_url.rsplit("/", 1)[1], DEAD_QUEUE).get("messages", -1))


def test_a_letter_arrives_and_every_hop_is_told(running: Stack) -> None:
    with running.api() as api:
        message = done(
            api,
            send(
                api,
                "ada@example.com",
                markdown="Dear {{ name }},\n\n**Thursday**.",
                attachments=[{"filename": "plan.txt", "content": "cGxhbg=="}],
            ),
        )
        assert message["state"] == "accepted"
        (mail,) = api.get("/api/v1/sandbox/messages?to=ada@example.com").json()["items"]
        assert "Saplings" in mail["subject"]
        found = detail(api, message)
        kinds = [step["kind"] for step in found["timeline"]]
        assert kinds[:2] == ["clicked", "committed"]
        assert set(kinds[2:]) == {"confirmed", "received", "conversation", "outcome"}
        talk = next(step["talk"] for step in found["timeline"] if step["kind"] == "conversation")
        said = "\n".join(line["text"] for line in talk)
        assert all(word in said for word in ("220 ", "EHLO", "MAIL FROM", "RCPT TO:<ada@example.com>", "DATA", "354"))
        assert "Thursday" not in said, "the body is left out"
        assert found["queue_id"]
        assert found["server"].startswith("127.0.0.1:")


def test_a_refused_letter_lies_in_the_dead_letters_until_somebody_decides(
    running: Stack, rabbitmq: Node, amqp_url: str
) -> None:
    with running.api() as api:
        message = done(api, send(api, "smtp-550@example.com"))
        assert message["state"] == "failed"
        assert message["deliveries"][0]["code"] == 550
        wait_until(lambda: dead(rabbitmq, amqp_url) == 1, "the console shows it in mail.dead.v1")
        path = f"/api/v1/deliveries/{message['deliveries'][0]['id']}"
        assert api.post(f"{path}/retry", json={"address": "good@example.com"}).status_code == 200
        assert done(api, message)["state"] == "accepted"
        wait_until(lambda: dead(rabbitmq, amqp_url) == 0, "it has left the dead letters")

        other = done(api, send(api, "smtp-550@example.com"))
        wait_until(lambda: dead(rabbitmq, amqp_url) == 1, "the second one lies there")
        assert api.post(f"/api/v1/deliveries/{other['deliveries'][0]['id']}/discard").json()["state"] == "discarded"
        wait_until(lambda: dead(rabbitmq, amqp_url) == 0, "discarded, it has left, too")


def test_a_deferred_letter_tries_again_by_itself(running: Stack) -> None:
    with running.api() as api:
        message = done(api, send(api, "flaky-2@example.com"))
        assert message["state"] == "accepted"
        found = detail(api, message)
        assert found["attempt"] == 3
        assert [step["state"] for step in found["timeline"] if step["kind"] == "outcome"] == [
            "deferred", "deferred", "accepted",
        ]  # fmt: skip


def test_silence_after_the_dot_is_unknown_and_tried_once_more(running: Stack, rabbitmq: Node, amqp_url: str) -> None:
    with running.api() as api:
        message = send(api, "drop@example.com")

        def settled() -> bool:
            found = detail(api, message)
            return bool(found["state"] == "unknown" and found["attempt"] == 2 and found["next_at"] is None)

        wait_until(settled, "unknown twice is unknown for good")
        wait_until(lambda: dead(rabbitmq, amqp_url) == 1, "it waits for a person in mail.dead.v1")


def test_with_the_broker_away_a_click_costs_the_same_and_the_mail_goes_out_afterwards(
    running: Stack, rabbitmq: Node
) -> None:
    with running.api() as api:
        rabbitmq.kill()
        try:
            message = send(api, "ada@example.com")

            def broker_down() -> bool:
                return bool(api.get("/api/v1/system").json()["broker"] == "down")

            wait_until(broker_down, "the pages know that the broker is away")
            assert detail(api, message)["state"] == "pending"
        finally:
            rabbitmq.start()
        assert done(api, message)["state"] == "accepted"


def test_a_killed_mail_room_and_a_killed_dispatch_lose_nothing(running: Stack) -> None:
    with running.api() as api:
        running.kill("mailroom")
        running.kill("dispatch")
        messages = [send(api, f"r{number}@example.com") for number in range(20)]
        running.start("dispatch", "mailroom")
        assert {done(api, message)["state"] for message in messages} == {"accepted"}
        mails = api.get("/api/v1/sandbox/messages?limit=100").json()["items"]
        assert len(mails) == 20
