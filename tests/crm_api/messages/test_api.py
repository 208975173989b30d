"""/api/v1/messages, deliveries and files over HTTP, as a program meets them."""

import base64
import errno
import os
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.messages.idempotency import IdempotencyKey
from crm_api.messages.models import Delivery
from crm_api.outcomes import store as outcomes
from shared.clock import now
from shared.contracts import OutcomeKind
from shared.files import hash_of
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.waiting import wait_until

DRAFT: dict[str, Any] = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "markdown": "On **Thursday**."}


def finish(crm: Crm, delivery_id: str, kind: OutcomeKind = OutcomeKind.accepted) -> None:
    with crm.database.write() as session:
        delivery = session.get(Delivery, UUID(delivery_id))
        assert delivery is not None
        outcomes.apply(session, [outcome_of(delivery, kind=kind)], now())


def test_a_message_is_answered_202_with_its_deliveries(api: TestClient) -> None:
    answer = api.post("/api/v1/messages", json=DRAFT)
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["Location"] == f"/api/v1/messages/{body['id']}"
    assert (body["state"], body["counts"]["planned"], body["counts"]["pending"]) == ("pending", 1, 1)
    assert [row["address"] for row in body["deliveries"]] == ["ada@example.com"]
    assert body["text"] == "On Thursday.\n"
    assert body["via"] == "api"
    found = api.get(answer.headers["Location"]).json()
    # whoever is answered at once is not told what the message may have to wait for
    assert [row.pop("waits") for row in body["deliveries"]] == [None]
    assert [bool(row.pop("waits")) for row in found["deliveries"]] == [True]  # dispatch does not run here
    assert found == body


def test_every_route_of_the_room_wants_a_key(visitor: TestClient) -> None:
    for method, path in (
        ("POST", "/messages"), ("GET", "/messages"), ("GET", f"/messages/{uuid4()}"), ("GET", "/deliveries"),
        ("POST", f"/deliveries/{uuid4()}/cancel"), ("POST", "/files"),
    ):  # fmt: skip
        answer = visitor.request(method, f"/api/v1{path}")
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_same_key_and_body_is_answered_the_same_and_done_once(api: TestClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first = api.post("/api/v1/messages", json=DRAFT, headers=headers)
    second = api.post("/api/v1/messages", json=DRAFT, headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert ("Idempotency-Replayed" in first.headers, second.headers["Idempotency-Replayed"]) == (False, "true")
    assert len(api.get("/api/v1/messages").json()["items"]) == 1


def test_the_same_key_with_another_body_is_refused(api: TestClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    api.post("/api/v1/messages", json=DRAFT, headers=headers)
    answer = api.post("/api/v1/messages", json=DRAFT | {"subject": "Other"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(api.get("/api/v1/messages").json()["items"]) == 1


def test_two_requests_that_race_for_one_key_send_once(api: TestClient, crm: Crm) -> None:
    answers: list[Any] = []
    start = threading.Barrier(8)

    def post() -> None:
        start.wait()
        answers.append(api.post("/api/v1/messages", json=DRAFT, headers={"Idempotency-Key": "race"}))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len(api.get("/api/v1/messages").json()["items"]) == 1
    with crm.database.read() as session:
        assert len(session.exec(select(IdempotencyKey)).all()) == 1


def test_a_refused_message_does_not_use_up_its_key(api: TestClient) -> None:
    headers = {"Idempotency-Key": "order-18"}
    assert api.post("/api/v1/messages", json=DRAFT | {"subject": ""}, headers=headers).status_code == 422
    assert api.post("/api/v1/messages", json=DRAFT, headers=headers).status_code == 202


def test_errors_are_problem_documents_that_name_the_field(api: TestClient) -> None:
    answer = api.post("/api/v1/messages", json=DRAFT | {"lane": "express", "to": [{"email": 3}]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "errors"} <= body.keys()
    assert {error["field"] for error in body["errors"]} == {"lane", "to[0].email"}
    assert api.post("/api/v1/messages", content=b"{").status_code == 422
    assert api.get("/api/v1/messages?state=lost").json()["errors"][0]["field"] == "state"
    assert api.get("/api/v1/messages?cursor=x").json()["errors"][0]["field"] == "cursor"
    assert api.get(f"/api/v1/messages/{uuid4()}").status_code == 404


def test_wait_returns_as_soon_as_it_is_done(api: TestClient, crm: Crm) -> None:
    body = api.post("/api/v1/messages", json=DRAFT).json()
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(api.get(f"/api/v1/messages/{body['id']}?wait=60")))
    feed = api.app.state.feed  # type: ignore[attr-defined]
    before = len(feed._subscriptions)
    waiting.start()
    wait_until(lambda: len(feed._subscriptions) > before, "the request listens for changes")
    finish(crm, body["deliveries"][0]["id"])
    waiting.join(30)
    assert not waiting.is_alive(), "it did not return when the message was done"
    assert answers[0].json()["state"] == "accepted"


def test_wait_gives_up_after_its_time(api: TestClient) -> None:
    body = api.post("/api/v1/messages", json=DRAFT).json()
    answer = api.get(f"/api/v1/messages/{body['id']}?wait=1")
    assert (answer.status_code, answer.json()["done_at"]) == (200, None)
    assert api.get(f"/api/v1/messages/{body['id']}?wait=61").status_code == 422


def test_cancel_retry_and_discard(api: TestClient, crm: Crm) -> None:
    body = api.post("/api/v1/messages", json=DRAFT | {"undo_seconds": 60}).json()
    path = f"/api/v1/deliveries/{body['deliveries'][0]['id']}"
    cancelled = api.post(f"{path}/cancel").json()
    assert (cancelled["state"], cancelled["timeline"][-1]["kind"]) == ("cancelled", "cancelled")
    assert api.post(f"{path}/cancel").status_code == 409
    assert api.post(f"{path}/retry").status_code == 409

    body = api.post("/api/v1/messages", json=DRAFT).json()
    path = f"/api/v1/deliveries/{body['deliveries'][0]['id']}"
    finish(crm, body["deliveries"][0]["id"], OutcomeKind.failed)
    again = api.post(f"{path}/retry", json={"address": "new@example.com"}).json()
    assert (again["state"], again["generation"], again["address"]) == ("pending", 2, "new@example.com")
    assert [step["kind"] for step in again["timeline"]] == [
        "clicked", "committed", "received", "conversation", "outcome", "retried",
    ]  # fmt: skip
    assert api.post(f"{path}/discard").status_code == 409
    assert api.post(f"/api/v1/messages/{body['id']}/cancel").json()["state"] == "cancelled"


def test_a_file_is_uploaded_and_checked_against_its_hash(api: TestClient) -> None:
    sent = api.post("/api/v1/files", files={"file": ("plan.pdf", b"plan")}, data={"sha256": hash_of(b"plan")})
    assert (sent.status_code, sent.json()["sha256"], sent.json()["size"]) == (201, hash_of(b"plan"), 4)
    wrong = api.post("/api/v1/files", files={"file": ("plan.pdf", b"plan")}, data={"sha256": "0" * 64})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "file")
    draft = DRAFT | {"attachments": [{"filename": "plan.pdf", "sha256": sent.json()["sha256"]}]}
    assert api.post("/api/v1/messages", json=draft).json()["attachments"][0]["size"] == 4


def test_deliveries_page_by_key(api: TestClient) -> None:
    to = [{"email": f"r{n}@example.com"} for n in range(5)]
    message = api.post("/api/v1/messages", json=DRAFT | {"to": to}).json()["id"]
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/api/v1/deliveries?message_id={message}&limit=2&cursor={cursor}" if cursor else
                       f"/api/v1/deliveries?message_id={message}&limit=2").json()  # fmt: skip
        seen += [row["address"] for row in page["items"]]
        cursor = page["next"]
    assert seen == [row["email"] for row in to]


def test_the_openapi_document_describes_the_room_with_examples(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    assert {"/api/v1/messages", "/api/v1/deliveries/{delivery_id}/retry", "/api/v1/files"} <= document["paths"].keys()
    assert document["components"]["schemas"]["MessageDraft"]["examples"]
    accepted = document["paths"]["/api/v1/messages"]["post"]["responses"]
    assert "202" in accepted
    assert "422" in accepted


@pytest.mark.parametrize("size", [1, 40])
def test_taking_a_message_in_costs_a_fixed_number_of_statements(crm: Crm, size: int) -> None:
    from tests.support.statements import counted

    with counted(crm.database) as statements:
        crm.send(*(f"r{n}@example.com" for n in range(size)))
    writes = [one for one in statements if not one.startswith(("SELECT", "BEGIN"))]
    assert len(writes) <= 4, writes  # message, deliveries, what changed


def test_a_full_disk_is_said_and_holds_up_no_letter_without_a_file(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with_file = DRAFT | {"attachments": [{"filename": "a.txt", "content": base64.b64encode(b"plan").decode()}]}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = api.post("/api/v1/messages", json=with_file)
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert answer.headers["Retry-After"]
        assert api.post("/api/v1/messages", json=DRAFT).status_code == 202
    assert len(api.get("/api/v1/messages").json()["items"]) == 1
    assert api.post("/api/v1/messages", json=with_file).status_code == 202
