"""/api/v1/sandbox."""

import threading

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.sandbox.store import NewMail, SandboxStore


@pytest.fixture
def store(app: FastAPI) -> SandboxStore:
    """As the sandbox process opens it: a store of its own on the same file."""
    return SandboxStore(app.state.sandbox.path)


def _mail(to: str, subject: str = "Saplings") -> NewMail:
    return NewMail("crm@example.com", (to,), f"Subject: {subject}\r\nTo: <{to}>\r\n\r\nHello\r\n".encode())


def test_mails_are_listed_read_and_deleted(api: TestClient, store: SandboxStore) -> None:
    assert api.get("/api/v1/sandbox/messages").json() == {"items": [], "next": None}
    ids = store.add([_mail("anna@example.com"), _mail("bert@example.com", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=")])
    (found,) = api.get("/api/v1/sandbox/messages", params={"to": "Bert@example.com"}).json()["items"]
    assert found["id"] == ids[1]
    assert found["subject"] == "Grüße"
    assert found["envelope_to"] == ["bert@example.com"]
    assert found["from"] == "crm@example.com"
    whole = api.get(f"/api/v1/sandbox/messages/{ids[1]}").json()
    assert whole["text"] == "Hello\n"
    assert {"name": "To", "value": "<bert@example.com>"} in whole["headers"]
    raw = api.get(f"/api/v1/sandbox/messages/{ids[1]}/raw")
    assert raw.content == _mail("bert@example.com", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=").content
    assert raw.headers["Content-Type"] == "message/rfc822"
    assert api.delete("/api/v1/sandbox/messages").json() == {"deleted": 2}
    assert api.get(f"/api/v1/sandbox/messages/{ids[1]}").status_code == 404


def test_all_pages_together_are_the_inbox(api: TestClient, store: SandboxStore) -> None:
    ids = store.add([_mail("anna@example.com") for _ in range(7)])
    seen: list[int] = []
    cursor = None
    while True:
        page = api.get("/api/v1/sandbox/messages", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [mail["id"] for mail in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_waiting_ends_when_the_mail_comes(api: TestClient, store: SandboxStore) -> None:
    mails: list[dict[str, object]] = []

    def ask() -> None:
        mails.extend(api.get("/api/v1/sandbox/messages", params={"to": "anna@example.com", "wait": 30}).json()["items"])

    asking = threading.Thread(target=ask)
    asking.start()
    store.add([_mail("bert@example.com")])
    store.add([_mail("anna@example.com")])
    asking.join(25)
    assert not asking.is_alive(), "it waited to the end"
    assert len(mails) == 1


def test_waiting_in_vain_ends_by_itself(api: TestClient) -> None:
    answer = api.get("/api/v1/sandbox/messages", params={"wait": 0.1})
    assert answer.json()["items"] == []


@pytest.mark.parametrize(
    "bad", ["messages?cursor=x", "messages?cursor=-1", "messages?cursor=²", "messages?limit=0", "messages?wait=31",
            "messages/0", "messages/99999999999999999999", "messages/x", "messages?cursor=99999999999999999999999"]
)  # fmt: skip
def test_bad_input_is_a_problem_and_not_a_crash(api: TestClient, bad: str) -> None:
    answer = api.get(f"/api/v1/sandbox/{bad}")
    assert answer.status_code == 422
    assert answer.json()["errors"]
