"""A message over the API through database, dispatch, broker, mail room and SMTP, all of them real processes."""

from typing import TYPE_CHECKING, Any

import httpx2

from shared.topology import DEAD_QUEUE
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Product


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


def test_a_letter_arrives_and_every_hop_is_told(product: "Product") -> None:
    with product.stack.api() as api:
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


def test_a_refused_letter_lies_in_the_dead_letters_until_somebody_decides(product: "Product") -> None:
    with product.stack.api() as api:
        message = done(api, send(api, "smtp-550@example.com"))
        assert message["state"] == "failed"
        assert message["deliveries"][0]["code"] == 550
        wait_until(lambda: product.dead == 1, "it lies in mail.dead.v1")
        console = product.node.management
        wait_until(
            lambda: console.get("queues", product.vhost, DEAD_QUEUE).get("messages") == 1,
            "the management console shows it, too",
        )
        path = f"/api/v1/deliveries/{message['deliveries'][0]['id']}"
        assert api.post(f"{path}/retry", json={"address": "good@example.com"}).status_code == 200
        assert done(api, message)["state"] == "accepted"
        wait_until(lambda: product.dead == 0, "it has left the dead letters")

        other = done(api, send(api, "smtp-550@example.com"))
        wait_until(lambda: product.dead == 1, "the second one lies there")
        assert api.post(f"/api/v1/deliveries/{other['deliveries'][0]['id']}/discard").json()["state"] == "discarded"
        wait_until(lambda: product.dead == 0, "discarded, it has left, too")


def test_a_deferred_letter_tries_again_by_itself(product: "Product") -> None:
    with product.stack.api() as api:
        message = done(api, send(api, "flaky-2@example.com"))
        assert message["state"] == "accepted"
        found = detail(api, message)
        assert found["attempt"] == 3
        assert [step["state"] for step in found["timeline"] if step["kind"] == "outcome"] == [
            "deferred", "deferred", "accepted",
        ]  # fmt: skip


def test_silence_after_the_dot_is_unknown_and_tried_once_more(product: "Product") -> None:
    with product.stack.api() as api:
        message = send(api, "drop@example.com")

        def settled() -> bool:
            found = detail(api, message)
            return bool(found["state"] == "unknown" and found["attempt"] == 2 and found["next_at"] is None)

        wait_until(settled, "unknown twice is unknown for good")
        wait_until(lambda: product.dead == 1, "it waits for a person in mail.dead.v1")
        assert api.post(f"/api/v1/deliveries/{message['deliveries'][0]['id']}/discard").status_code == 200
        wait_until(lambda: product.dead == 0, "a person has decided")


def test_with_the_broker_away_a_click_costs_the_same_and_the_mail_goes_out_afterwards(
    product: "Product",
) -> None:
    with product.stack.api() as api:
        product.node.kill()
        try:
            message = send(api, "ada@example.com")

            def broker_down() -> bool:
                return bool(api.get("/api/v1/system").json()["broker"] == "down")

            wait_until(broker_down, "the pages know that the broker is away")
            assert detail(api, message)["state"] == "pending"
        finally:
            product.node.start()
        assert done(api, message)["state"] == "accepted"


def test_a_killed_mail_room_and_a_killed_dispatch_lose_nothing(product: "Product") -> None:
    with product.stack.api() as api:
        product.stack.kill("mailroom")
        product.stack.kill("dispatch")
        messages = [send(api, f"r{number}@example.com") for number in range(20)]
        product.stack.start("dispatch", "mailroom")
        assert {done(api, message)["state"] for message in messages} == {"accepted"}
        for number in range(20):
            assert len(api.get(f"/api/v1/sandbox/messages?to=r{number}@example.com").json()["items"]) == 1
