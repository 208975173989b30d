"""API keys: shown once, as narrow as they were made, and out the moment they are revoked."""

import re
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.app import create_app
from crm_api.auth import access, known
from crm_api.auth.models import ApiKey
from crm_api.auth.roles import Role
from crm_api.db import Database
from crm_api.settings import CrmSettings
from shared.clock import now
from tests.security.conftest import Somebody
from tests.support.statements import counted
from tests.support.waiting import wait_until

DRAFT = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "They leave on Thursday."}


@pytest.fixture(autouse=True)
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is known for an hour, so that nothing here is owed to forgetting."""
    monkeypatch.setattr(known, "KEY_KNOWN_SECONDS", 3600.0)


@pytest.fixture
def admin(client: TestClient, everybody: dict[Role, Somebody]) -> TestClient:
    client.headers.update(everybody[Role.admin].with_key)
    return client


def make(admin: TestClient, **members: object) -> dict[str, str]:
    answer = admin.post("/api/v1/keys", json={"name": "web shop", "scopes": ["messages.send"]} | members)
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


def status(client: TestClient, key: str, path: str = "/api/v1/me") -> int:
    return client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code


def test_it_is_shown_once_and_only_its_hash_is_stored(admin: TestClient, database: Database) -> None:
    made = make(admin)
    assert len(made["key"]) == 46
    assert made["prefix"] == made["key"][:10]
    with database.read() as session:
        assert made["key"] not in str([row.model_dump() for row in session.exec(select(ApiKey))])
    for path in ("/api/v1/keys", "/keys", "/api/v1/audit", f"/keys/{made['id']}/revoke"):
        assert made["key"] not in admin.get(path).text
    page = admin.post("/keys", data={"name": "by hand", "scopes": "messages.send", "days": "30"})
    assert re.search(r"<textarea[^>]*>ph_[\w-]{43}</textarea>", page.text)
    assert page.headers["Cache-Control"] == "no-store"


def test_a_revoked_key_is_out_at_once(admin: TestClient) -> None:
    made = make(admin)
    assert status(admin, made["key"]) == 200
    assert admin.post(f"/api/v1/keys/{made['id']}/revoke").json()["state"] == "revoked"
    assert status(admin, made["key"]) == 401
    assert admin.post(f"/api/v1/keys/{made['id']}/revoke").status_code == 409


def test_in_another_process_too(admin: TestClient, settings: CrmSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hears of it by the change feed only."""
    made = make(admin)
    with TestClient(create_app(settings)) as elsewhere:
        assert status(elsewhere, made["key"]) == 200
        heard = access.version()
        with monkeypatch.context() as deaf:  # this process does not know that it was here
            deaf.setattr("crm_api.auth.access.event.listen", lambda *_, **__: None)
            admin.post(f"/api/v1/keys/{made['id']}/revoke")
        wait_until(lambda: access.version() > heard, "the feed tells of the change")
        assert status(elsewhere, made["key"]) == 401


def test_the_key_of_somebody_disabled_is_out_at_once(admin: TestClient, everybody: dict[Role, Somebody]) -> None:
    agent = everybody[Role.agent]
    assert status(admin, agent.key) == 200
    assert admin.post(f"/api/v1/users/{agent.user.id}/disable").status_code == 200
    assert status(admin, agent.key) == 401
    admin.post(f"/api/v1/users/{agent.user.id}/enable")
    assert status(admin, agent.key) == 200


def test_a_new_role_is_the_keys_at_once(admin: TestClient, everybody: dict[Role, Somebody]) -> None:
    agent = everybody[Role.agent]
    headers = agent.with_key
    assert admin.post("/api/v1/messages", json=DRAFT, headers=headers).status_code == 202
    admin.patch(f"/api/v1/users/{agent.user.id}", json={"role": "viewer"})
    assert admin.post("/api/v1/messages", json=DRAFT, headers=headers).status_code == 403


def test_a_key_ends_by_itself(admin: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(admin, days=1)
    assert status(admin, made["key"]) == 200
    monkeypatch.setattr(known, "KEY_KNOWN_SECONDS", 0.0)
    with database.write() as session:
        key = session.exec(select(ApiKey).where(ApiKey.name == "web shop")).one()
        key.expires_at = now() - timedelta(seconds=1)
        access.changed(session, key.user_id)
    assert status(admin, made["key"]) == 401
    listed = {key["name"]: key["state"] for key in admin.get("/api/v1/keys").json()["items"]}
    assert listed["web shop"] == "expired"


def test_a_known_key_costs_no_statement(admin: TestClient, app: FastAPI, everybody: dict[Role, Somebody]) -> None:
    status(admin, everybody[Role.agent].key)
    with counted(app.state.database) as statements:
        for _ in range(20):
            assert status(admin, everybody[Role.agent].key) == 200
    assert statements == []


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["account"]}, "scopes"),
        ({"scopes": ["pages"]}, "scopes"),
        ({"days": 0}, "days"),
        ({"user_id": "00000000-0000-7000-8000-000000000000"}, "user_id"),
    ],
)
def test_what_is_wrong_names_the_field(admin: TestClient, members: dict[str, object], field: str) -> None:
    answer = admin.post("/api/v1/keys", json={"name": "x", "scopes": ["messages.send"]} | members)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith(field)


def test_a_narrow_key_makes_no_wider_one(admin: TestClient, everybody: dict[Role, Somebody]) -> None:
    narrow = {"Authorization": f"Bearer {make(admin, scopes=['keys.manage', 'messages.read'])['key']}"}
    for scopes, expected in (([], 422), (["users.manage"], 422), (None, 422), (["messages.read"], 201)):
        answer = admin.post("/api/v1/keys", json={"name": "x", "scopes": scopes}, headers=narrow)
        assert answer.status_code == expected, (scopes, answer.text)


def test_a_key_is_no_person(admin: TestClient, everybody: dict[Role, Somebody]) -> None:
    """Whoever finds a key cannot take the account over with it."""
    for path in ("/account", "/account/second-factor"):
        assert admin.get(path).status_code == 403
    assert admin.post("/account/password", data={"old": "x", "new": "y"}).status_code == 403


def test_me_says_what_a_key_may(admin: TestClient) -> None:
    key = make(admin, scopes=["messages.send", "messages.read"])["key"]
    told = admin.get("/api/v1/me", headers={"Authorization": f"Bearer {key}"}).json()
    assert (told["key"], told["may"]) == ("web shop", ["me", "messages.read", "messages.send"])
