"""The lane and the route that it overtakes answer alike; only the lane's way is shorter."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from starlette.routing import Router

BY_LANE, BY_ROUTE = "application/json", "application/json; charset=utf-8"
GOOD: dict[str, Any] = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday."}
CASES: dict[str, tuple[bytes, dict[str, str]]] = {
    "good": (json.dumps(GOOD).encode(), {}),
    "with a key": (json.dumps(GOOD).encode(), {"Idempotency-Key": "one"}),
    "a key that is none": (json.dumps(GOOD).encode(), {"Idempotency-Key": "x" * 300}),
    "no JSON": (b"{", {}),
    "nothing": (b"", {}),
    "no object": (b"[]", {}),
    "a strange member": (json.dumps(GOOD | {"colour": "red"}).encode(), {}),
    "a wrong type": (json.dumps(GOOD | {"subject": 3}).encode(), {}),
    "no recipient": (json.dumps(GOOD | {"to": []}).encode(), {}),
    "a bad address": (json.dumps(GOOD | {"to": [{"email": "ada"}]}).encode(), {}),
    "a wrong date": (json.dumps(GOOD | {"send_at": "tomorrow"}).encode(), {}),
    "too large": (json.dumps(GOOD | {"text": "x" * 3_000_000}).encode(), {}),
    "more than the lane takes": (json.dumps(GOOD | {"text": "x" * 100_000}).encode(), {}),
}


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each request that came as far as the router."""
    came: list[str] = []
    through = Router.__call__

    async def noted(self: Router, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            came.append(scope["path"])
        await through(self, scope, receive, send)

    monkeypatch.setattr(Router, "__call__", noted)
    return came


def post(api: TestClient, body: bytes, headers: dict[str, str], content_type: str) -> Response:
    return api.post("/api/v1/messages", content=body, headers=headers | {"Content-Type": content_type})


def told(answer: Response) -> object:
    """What must be the same; ids and times are each message's own."""
    body = answer.json()
    if answer.status_code != 202:
        return answer.status_code, body, answer.headers["content-type"]
    body = {name: value for name, value in body.items() if not name.endswith(("id", "_at")) and name != "deliveries"}
    return 202, body, sorted(answer.headers)


@pytest.mark.parametrize("case", CASES)
def test_the_lane_answers_as_the_route_does(api: TestClient, case: str) -> None:
    body, headers = CASES[case]
    by_lane = post(api, body, headers, BY_LANE)
    by_route = post(api, body, {name: value + "!" for name, value in headers.items()}, BY_ROUTE)
    assert told(by_lane) == told(by_route)


def test_what_is_understood_at_once_passes_no_router(api: TestClient, routed: list[str]) -> None:
    assert post(api, json.dumps(GOOD).encode(), {}, BY_LANE).status_code == 202
    assert routed == []
    assert post(api, json.dumps(GOOD).encode(), {}, BY_ROUTE).status_code == 202
    assert routed == ["/api/v1/messages"]


def test_a_key_answers_the_same_on_both_ways(api: TestClient) -> None:
    body = json.dumps(GOOD).encode()
    first = post(api, body, {"Idempotency-Key": "one"}, BY_LANE)
    again = post(api, body, {"Idempotency-Key": "one"}, BY_ROUTE)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"


def test_nobody_comes_in_through_the_lane(visitor: TestClient, app: FastAPI) -> None:
    answer = post(visitor, json.dumps(GOOD).encode(), {"Authorization": "Bearer ph_wrong"}, BY_LANE)
    assert answer.status_code == 401
