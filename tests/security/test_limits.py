"""What somebody may send at once: heads, bodies, letters in a minute."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.auth.models import User
from crm_api.errors import TooMany
from crm_api.messages.throttle import MINUTE, SendThrottle
from crm_api.settings import CrmSettings
from crm_api.web.body_limit import STRANGERS_BYTES
from crm_api.web.server import HEAD_BYTES
from tests.support.databases import Template
from tests.support.people import EMAIL, KEY, PASSWORD
from tests.support.stack import Stack, stack
from tests.support.statements import counted

BOUND = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("house")
    url = database_template.copy_sqlite(data_dir / "posthaste.sqlite")
    with stack(data_dir, url, "amqp://nobody:nothing@127.0.0.1:1/") as made:
        made.start("web")
        yield made


def sent_until_cut(house: Stack, start: bytes, more: bytes) -> int:
    """How many bytes the server took of a request that does not end."""
    sent = 0
    with socket.create_connection(("127.0.0.1", house.port), 30) as line, contextlib.suppress(ConnectionError):
        line.sendall(start)
        while sent < BOUND:
            line.sendall(more)
            sent += len(more)
    return sent


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"x" * 16_384),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Many: x\r\n" * 1000),
        (b"GET /?q=", b"x" * 16_384),
    ],
)
def test_a_head_that_never_ends_is_cut_off(house: Stack, start: bytes, more: bytes) -> None:
    # what the kernel holds for the two of them is some megabytes
    assert HEAD_BYTES < sent_until_cut(house, start, more) < BOUND / 2
    assert house.ready("web")


def test_a_head_of_usual_length_is_read_however_it_comes(house: Stack) -> None:
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 8000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", house.port), 30) as line:
        for _ in range(20):  # many on one connection: each is counted for itself
            for start in range(0, len(head), 1000):
                line.sendall(head[start : start + 1000])
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += line.recv(4096) or b"(closed)" + b'{"status":"ok"}'
            assert answer.startswith(b"HTTP/1.1 200")


def test_who_is_not_signed_in_may_not_send_much(visitor: TestClient) -> None:
    form = {"email": EMAIL, "password": "x" * (STRANGERS_BYTES + 1)}
    assert visitor.post("/sign-in", data=form).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(STRANGERS_BYTES // 1000 + 2):
            yield b"email=" + b"x" * 1000

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.post("/sign-in", content=chunks(), headers=kind).status_code == 413


def test_who_is_signed_in_may(browser: TestClient, settings: CrmSettings) -> None:
    files = {"file": ("trees.bin", b"x" * (STRANGERS_BYTES * 4))}
    assert browser.post("/api/v1/files", files=files).status_code == 201
    files = {"file": ("trees.bin", b"x" * (settings.max_attachment_bytes + 1))}
    assert browser.post("/api/v1/files", files=files).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"to":' * 50_000,
        '{"to": [{"email": "a@b.example"}], "undo_seconds": ' + "9" * 60_000 + "}",
        json.dumps({"to": [{}] * 20_000}),
        json.dumps({"to": [{"email": "a@b.example", "fields": {"x" * 60_000: ""}}]}),
    ],
)
def test_json_that_is_made_to_hurt_is_only_wrong(api: TestClient, body: str) -> None:
    answer = api.post("/api/v1/messages", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text[:500]


# ---- letters in a minute ------------------------------------------------------------------------------------


class Clock:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


def refused_for(throttle: SendThrottle, recipients: int, scope: str = "key:1") -> int:
    """Seconds to wait; 0: it was taken."""
    try:
        throttle.take(scope, recipients)
    except TooMany as problem:
        return problem.seconds
    return 0


def test_a_minutes_worth_at_once_then_as_it_comes_back() -> None:
    clock = Clock()
    throttle = SendThrottle(60, clock)
    assert [refused_for(throttle, 1) for _ in range(61)] == [0] * 60 + [1]
    assert refused_for(throttle, 1, "key:2") == 0, "each counts for itself"
    clock.at += 1.01
    assert [refused_for(throttle, 1) for _ in range(2)] == [0, 1]
    clock.at += 2 * MINUTE
    assert [refused_for(throttle, 20) for _ in range(4)] == [0, 0, 0, 1], "it is not saved up for longer"


def test_one_message_to_many_is_sent_and_then_waited_for() -> None:
    clock = Clock()
    throttle = SendThrottle(60, clock)
    assert refused_for(throttle, 600) == 0
    wait = refused_for(throttle, 1)
    assert wait == 9 * MINUTE + 1  # a minute's worth, and room for one
    clock.at += wait - 1.5
    assert refused_for(throttle, 1) > 0
    clock.at += 1.5
    assert refused_for(throttle, 1) == 0


def test_those_who_have_been_quiet_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_api.messages.throttle.MOST_KNOWN", 10)
    clock = Clock()
    throttle = SendThrottle(60, clock)
    for number in range(10):
        throttle.take(f"key:{number}", 1)
    clock.at += MINUTE
    throttle.take("key:new", 1)
    assert len(throttle._free_at) == 1


def draft(*to: str, **more: Any) -> dict[str, Any]:
    people = [{"email": address} for address in to or ("ada@example.com",)]
    return {"to": people, "subject": "Saplings", "text": "They leave on Thursday.", **more}


@pytest.fixture
def slow(user: User, database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """Three recipients a minute."""
    settings = CrmSettings(data_dir=tmp_path, database_url=database_url, sends_per_minute=3)
    with TestClient(create_app(settings), follow_redirects=False) as client:
        yield client


def test_the_api_says_when_to_try_again(slow: TestClient) -> None:
    program = {"Authorization": f"Bearer {KEY}"}
    for to in (["ada@example.com"], ["ida@example.com", "tom@example.com"]):
        assert slow.post("/api/v1/messages", json=draft(*to), headers=program).status_code == 202
    for spoofed in ({}, {"X-Forwarded-For": "203.0.113.9"}):
        answer = slow.post("/api/v1/messages", json=draft(), headers=program | spoofed)
        assert answer.status_code == 429
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(answer.headers["Retry-After"]) <= MINUTE
        assert answer.json()["type"] == "/help/api#problem-too-many"
    assert len(slow.get("/api/v1/messages", headers=program).json()["items"]) == 2


def test_a_person_keeps_the_letter_that_was_too_much(slow: TestClient) -> None:
    slow.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    letter = {"typed": "ada@example.com", "subject": "Saplings", "markdown": "They leave on Thursday."}
    answers = [slow.post("/messages", data=letter | {"token": str(number)}) for number in range(4)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
    assert "They leave on Thursday." in answers[-1].text
    assert "try again in a moment" in answers[-1].text


def test_what_is_refused_asks_the_database_for_nothing(slow: TestClient) -> None:
    """Nor does the throttle of what is taken: tests/crm_api/messages/test_click_cost.py counts that."""
    program = {"Authorization": f"Bearer {KEY}"}
    for _ in range(3):
        slow.post("/api/v1/messages", json=draft(), headers=program)
    with counted(slow.app.state.database) as asked:  # type: ignore[attr-defined]
        assert slow.post("/api/v1/messages", json=draft(), headers=program).status_code == 429
    assert [statement for statement in asked if "api_key" not in statement] == [], "only the door looks who it is"
