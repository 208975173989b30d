"""A key makes nothing wider than itself: no key, no user, no link; not for more, for somebody else, or for longer."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth import access, known
from crm_api.auth.models import ApiKey, User
from crm_api.auth.principal import NO_ID, Principal
from crm_api.auth.roles import SCOPES, Role
from crm_api.db import Database
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.settings import CrmSettings
from shared.clock import now
from tests.security.conftest import Somebody, somebody

LINK = "http://127.0.0.1:8000/links/" + "t" * 43
AGENTS = ["customers.read", "customers.change", "messages.read", "messages.send", "messages.change", "system.read"]


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KEY_KNOWN_SECONDS", 0.0)


@pytest.fixture
def admin(everybody: dict[Role, Somebody]) -> Somebody:
    return everybody[Role.admin]


def make(client: TestClient, by: dict[str, str], **members: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/keys", json={"name": "narrow", "scopes": ["keys.manage"]} | members, headers=by)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['key']}"}


def expire(database: Database, made: dict[str, Any], at: datetime) -> None:
    with database.write() as session:
        key = session.exec(select(ApiKey).where(ApiKey.prefix == made["prefix"])).one()
        key.expires_at = at
        access.changed(session, key.user_id)


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_not_for_another_person(client: TestClient, database: Database, admin: Somebody, role: str) -> None:
    other = somebody(database, role, f"another {role}")
    by = bearer(make(client, admin.with_key))
    for headers in (by, admin.with_key):  # nor with a key for everything
        body = {"name": "x", "scopes": ["keys.manage"], "user_id": str(other.user.id)}
        answer = client.post("/api/v1/keys", json=body, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "user_id")
        page = client.post("/keys", data=body | {"days": ""}, headers=headers)
        assert page.status_code in (403, 422), "the page is no way round"


@pytest.mark.parametrize("days", [None, 3, 365])
def test_not_for_longer(client: TestClient, admin: Somebody, days: int | None) -> None:
    by = bearer(make(client, admin.with_key, days=2))
    answer = client.post("/api/v1/keys", json={"name": "x", "scopes": ["keys.manage"], "days": days}, headers=by)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "days")


def test_its_child_ends_with_it(client: TestClient, admin: Somebody) -> None:
    parent = make(client, admin.with_key, days=2)
    child = make(client, bearer(parent), days=2)
    grandchild = make(client, bearer(child), days=1)
    ends = [datetime.fromisoformat(made["expires_at"]) for made in (parent, child, grandchild)]
    assert ends[2] <= ends[1] <= ends[0]
    assert client.post(f"/api/v1/keys/{parent['id']}/revoke", headers=admin.with_key).status_code == 200
    for made in (parent, child, grandchild):
        assert client.get("/api/v1/me", headers=bearer(made)).status_code == 401
    entries = client.get("/api/v1/audit?action=key.revoked", headers=admin.with_key).json()["items"]
    assert len(entries) == 3


def test_an_end_in_the_last_hours_is_an_end(client: TestClient, database: Database, admin: Somebody) -> None:
    parent = make(client, admin.with_key, days=1)
    soon = now() + timedelta(minutes=5)
    expire(database, parent, soon)
    child = make(client, bearer(parent), days=1)
    assert datetime.fromisoformat(child["expires_at"]) == soon


def test_a_known_key_is_forgotten_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its expiry does not wait for what is remembered of it."""
    monkeypatch.setattr(known, "KEY_KNOWN_SECONDS", 3600.0)
    who = Principal(NO_ID, "x", "x", "admin", "api", "key:x")
    keys = known.KnownKeys()
    for ends_at, is_known in ((None, True), (now() + timedelta(hours=1), True), (now(), False)):
        keys.put(("hash", "address"), replace(who, ends_at=ends_at), access.version())
        assert (keys.get(("hash", "address")) is not None) == is_known, ends_at


def test_no_more_than_the_user_it_acts_for(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    """Or a later role would make it wider than anybody meant."""
    form = {"name": "x", "scopes": "messages.send", "days": "", "user_id": str(everybody[Role.viewer].user.id)}
    answer = client.post("/keys", data=form, headers=everybody[Role.admin].with_cookie)
    assert answer.status_code == 422
    assert "may not do that: messages.send" in answer.text


def test_it_knows_and_revokes_only_keys_of_its_user(
    client: TestClient, database: Database, admin: Somebody, everybody: dict[Role, Somebody]
) -> None:
    by = bearer(make(client, admin.with_key))
    with database.read() as session:
        others = session.exec(select(ApiKey).where(ApiKey.user_id == everybody[Role.agent].user.id)).one().id
    listed = client.get("/api/v1/keys", headers=by).json()["items"]
    assert {each["user_id"] for each in listed} == {str(admin.user.id)}
    assert client.post(f"/api/v1/keys/{others}/revoke", headers=by).status_code == 404
    assert client.get("/api/v1/me", headers=everybody[Role.agent].with_key).status_code == 200
    page = client.post(f"/keys/{others}/revoke", headers=admin.with_cookie)
    assert page.status_code == 303, "a person may"


USERS: list[tuple[str, str, dict[str, str] | None]] = [
    ("POST", "/api/v1/users", {"email": "x@y.example", "name": "X", "role": "admin"}),
    ("POST", "/api/v1/users", {"email": "x@y.example", "name": "X", "role": "agent"}),
    ("PATCH", "/api/v1/users/{admin}", {"name": "Somebody"}),
    ("PATCH", "/api/v1/users/{viewer}", {"role": "admin"}),
    ("POST", "/api/v1/users/{admin}/invite", None),
    ("POST", "/api/v1/users/{admin}/disable", None),
    ("POST", "/api/v1/users/{admin}/enable", None),
    ("POST", "/users/{admin}/end-sessions", None),
    ("POST", "/users/{admin}/second-factor-off", None),
    ("POST", "/users/{viewer}/second-factor-off", None),
]


@pytest.mark.parametrize(("method", "path", "body"), USERS)
def test_a_key_for_users_makes_nobody_who_may_more(
    client: TestClient,
    database: Database,
    everybody: dict[Role, Somebody],
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    other = somebody(database, "admin", "another admin")
    by = bearer(make(client, everybody[Role.admin].with_key, scopes=["users.manage", "system.read"]))
    url = path.format(admin=other.user.id, viewer=everybody[Role.viewer].user.id)

    def users() -> list[dict[str, Any]]:
        with database.read() as session:
            return [user.model_dump() for user in session.exec(select(User).order_by(User.email))]

    before = users()
    answer = client.request(method, url, json=body, headers=by)
    assert answer.status_code == 403, answer.text
    assert users() == before


def test_a_key_with_an_agents_scopes_may_invite_an_agent(client: TestClient, admin: Somebody) -> None:
    by = bearer(make(client, admin.with_key, scopes=["users.manage", *AGENTS]))
    body = {"email": "new@holt-trees.example", "name": "New", "role": "agent"}
    made = client.post("/api/v1/users", json=body, headers=by)
    assert made.status_code == 201, made.text
    url = f"/api/v1/users/{made.json()['id']}"
    assert client.patch(url, json={"role": "viewer"}, headers=by).status_code == 200
    assert client.patch(url, json={"role": "manager"}, headers=by).status_code == 403
    assert client.post(f"{url}/disable", headers=by).status_code == 200


def test_no_key_turns_a_second_factor_off(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    """Not even one for everything: a second factor is a person's."""
    url = f"/users/{everybody[Role.viewer].user.id}/second-factor-off"
    assert client.post(url, headers=everybody[Role.admin].with_key).status_code == 403
    assert client.post(url, headers=everybody[Role.admin].with_cookie).status_code == 303


@pytest.mark.parametrize("members", [{"scopes": ["sandbox.read"]}, {"scopes": None, "days": 1}, {"scopes": [*SCOPES]}])
def test_the_sandbox_gives_a_narrow_key_no_link(
    client: TestClient, settings: CrmSettings, admin: Somebody, members: dict[str, Any]
) -> None:
    """Or it asks for a new password of an admin's, reads the link, and is that admin for ever."""
    store = SandboxStore(settings.data_dir / SANDBOX_FILE)
    quoted = f"Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n{LINK[:40]}=\n{LINK[40:]}\n"
    texts = [
        f"Subject: x\n\nHere: {LINK}\n",
        quoted,
        f"Subject: {LINK}\n\nx\n",
        "Subject: x\n\nhttp://127.0.0.1:8000/\n",
    ]
    mails = [NewMail("crm@x.example", ["ada@x.example"], text.replace("\n", "\r\n").encode()) for text in texts]
    *secret, plain = store.add(mails)
    by = bearer(make(client, admin.with_key, **members))
    ways = ["/api/v1/sandbox/messages/{}", "/api/v1/sandbox/messages/{}/raw", "/sandbox/{}/source", "/sandbox/{}"]
    for mail in secret:
        for way in ways:
            answer = client.get(way.format(mail), headers=by)
            assert answer.status_code == 403, way
            assert LINK not in answer.text
            assert client.get(way.format(mail), headers=admin.with_key).status_code == 200
            assert client.get(way.format(mail), headers=admin.with_cookie).status_code == 200
    assert client.get(ways[0].format(plain), headers=by).status_code == 200
