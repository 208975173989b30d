"""One table says who may do what: every route, every role, by session and by key."""

import re

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.auth.guard import guard
from crm_api.auth.principal import Principal
from crm_api.auth.roles import BY_NAME, BY_ROUTE, SCOPES, VERBS, Role, granted, is_role_for
from crm_api.db import Database
from crm_api.keys import service as keys
from crm_api.settings import CrmSettings
from tests.security.conftest import Somebody, somebody

OUT = "POST /sign-out"
NONE = "00000000-0000-7000-8000-000000000000"
BY_ROLE = {
    Role.viewer: {"me", "pages", "account", "system.read", "customers.read", "messages.read"},
    Role.agent: {"customers.change", "messages.send", "messages.change"},
    Role.manager: {"customers.remove_any", "messages.change_any", "reconciliation.read"},
    Role.operator: {
        "messages.change",
        "messages.change_any",
        "reconciliation.read",
        "reconciliation.change",
        "system.mend",
    },
}


def routes(app: FastAPI) -> list[str]:
    """As the table writes them: GET /customers/{customer_id}."""
    found = [f"{method} {one.path}" for one in iter_route_contexts(app.routes) for method in one.methods or ()]
    return sorted(found, key=lambda route: (route == OUT, route))  # last, when sessions are no longer needed


def test_the_table_knows_every_route_and_no_other(settings: CrmSettings) -> None:
    app = create_app(settings)
    assert set(routes(app)) == set(BY_ROUTE), "put the route into crm_api/auth/roles.py, or take it out"
    assert sum(len(verb.routes) for verb in VERBS) == len(BY_ROUTE), "a route has one verb"


def test_the_guard_stands_before_every_route(settings: CrmSettings) -> None:
    """But for the description of the API, which FastAPI makes itself and the door keeps closed."""
    without = []
    for one in iter_route_contexts(create_app(settings).routes):
        dependant = getattr(one, "dependant", None)
        calls = [each.call for each in dependant.dependencies] if dependant else []
        if guard not in calls:
            without.append(one.path)
    assert without == ["/openapi.json"]


def ask(client: TestClient, route: str, headers: dict[str, str]) -> str:
    """in, out (who is unknown), or refused."""
    method, _, path = route.partition(" ")
    url = re.sub(r"\{[^}]*\}", NONE, path)
    client.cookies.clear()
    answer = client.request(method, url, headers=headers)
    if answer.status_code == 401 or (route != OUT and answer.headers.get("Location", "").startswith("/sign-in")):
        return "out"
    if answer.status_code == 403:
        return "refused"
    assert answer.status_code < 500, (route, answer.text)
    return "in"


def test_every_route_and_every_role(app: FastAPI, client: TestClient, everybody: dict[Role, Somebody]) -> None:
    app.state.feed.closed = True  # or the stream of changes would have no end
    wrong = []
    for route in routes(app):
        verb = BY_ROUTE[route]
        if not verb.roles:
            continue  # open to all: test_door.py
        for role, person in everybody.items():
            may = is_role_for(role, verb)
            for way, headers in (("key", person.with_key), ("session", person.with_cookie)):
                allowed = may and not (way == "key" and verb.person)
                answer = ask(client, route, headers)
                if answer != ("in" if allowed else "refused"):
                    wrong.append(f"{route}: {role} with a {way} is {answer}")
    assert wrong == [], wrong


def test_what_each_role_may_is_what_was_agreed() -> None:
    """Said a second time, by hand, so that a slip in the table is seen."""
    viewer = BY_ROLE[Role.viewer]
    agent = viewer | BY_ROLE[Role.agent]
    manager = agent | BY_ROLE[Role.manager]
    operator = viewer | BY_ROLE[Role.operator]
    everything = {verb.name for verb in VERBS if verb.roles}
    for role, verbs in {
        Role.viewer: viewer,
        Role.agent: agent,
        Role.manager: manager,
        Role.operator: operator,
        Role.admin: everything,
    }.items():
        assert granted(role) == verbs, role
        assert granted(role, via_key=True) == {name for name in verbs if not BY_NAME[name].person}, role
    assert granted("king") == frozenset()


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_what_its_scope_names_and_nothing_else(
    app: FastAPI, client: TestClient, everybody: dict[Role, Somebody], database: Database, scope: str
) -> None:
    admin = everybody[Role.admin].user
    by = Principal(admin.id, admin.name, admin.email, admin.role, "page", "")
    with database.write() as session:
        _, key = keys.make(session, by, admin.id, "narrow", [scope], None)
    opened = {
        BY_ROUTE[route].name
        for route in routes(app)
        if BY_ROUTE[route].roles and route != "GET /events"
        if ask(client, route, {"Authorization": f"Bearer {key}"}) == "in"
    }
    assert opened == {"me"} | ({scope} if BY_NAME[scope].routes else set())


def test_a_new_role_acts_from_the_next_request_on(client: TestClient, database: Database) -> None:
    person = somebody(database, Role.agent)
    assert client.get("/customers/new", headers=person.with_cookie).status_code == 200
    with database.write() as session:
        session.merge(person.user).role = "viewer"
    refused = client.get("/customers/new", headers=person.with_cookie)
    assert refused.status_code == 403
    assert "not for your role (viewer)" in refused.text


def test_a_route_that_the_table_does_not_know_is_closed(app: FastAPI, everybody: dict[Role, Somebody]) -> None:
    @app.get("/api/v1/forgotten")
    def forgotten() -> str:
        return "open"

    assert any(isinstance(route, APIRoute) for route in app.routes)
    with TestClient(app) as client:
        answer = client.get("/api/v1/forgotten", headers=everybody[Role.admin].with_key)
    assert answer.status_code == 403
    assert "no place in the table" in answer.json()["detail"]


def test_the_fast_lane_of_messages_has_the_same_guard(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    """It answers before any route is found."""
    draft = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "They leave on Thursday."}
    answers = {
        role: client.post("/api/v1/messages", json=draft, headers=person.with_key).status_code
        for role, person in everybody.items()
    }
    assert answers == {"viewer": 403, "agent": 202, "manager": 202, "operator": 403, "admin": 202}
