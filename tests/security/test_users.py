"""Users: one admin always stays, and letters belong to who wrote them."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.models import ApiKey, SignIn, User
from crm_api.auth.principal import Principal
from crm_api.auth.roles import BY_NAME, BY_ROUTE, Role, Verb, is_role_for
from crm_api.auth.service import principal_of
from crm_api.customers.models import Customer
from crm_api.db import Database
from crm_api.errors import Conflict
from crm_api.users import service
from tests.security.conftest import Somebody, somebody
from tests.support.crm import Crm
from tests.support.scenes import settle

DRAFT = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday.", "undo_seconds": 300}


def test_the_only_admin_stays_one(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    admin = everybody[Role.admin]
    url = f"/api/v1/users/{admin.user.id}"
    assert client.patch(url, json={"role": "viewer"}, headers=admin.with_key).status_code == 409
    assert client.post(f"{url}/disable", headers=admin.with_key).status_code == 409
    refused = client.post(f"/users/{admin.user.id}", data={"name": "A", "role": "agent"}, headers=admin.with_cookie)
    assert refused.status_code == 409
    assert "only admin" in refused.text


def test_an_invited_admin_is_not_yet_one(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    admin = everybody[Role.admin]
    invited = {"email": "tom@holt-trees.example", "name": "Tom", "role": "admin"}
    assert client.post("/api/v1/users", json=invited, headers=admin.with_key).json()["state"] == "invited"
    url = f"/api/v1/users/{admin.user.id}"
    assert client.patch(url, json={"role": "viewer"}, headers=admin.with_key).status_code == 409


def test_two_admins_cannot_remove_each_other(database: Database) -> None:
    pair = [principal_of(somebody(database, Role.admin, name).user) for name in ("ada", "bob")]

    def disable(by: Principal, other: Principal) -> bool:
        try:
            with database.write() as session:
                service.disable(session, by, other.user_id)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(disable, pair, reversed(pair)))
    assert sum(done) == 1


def test_disabled_is_signed_out_everywhere(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    agent, admin = everybody[Role.agent], everybody[Role.admin]
    assert client.get("/customers", headers=agent.with_cookie).status_code == 200
    page = client.post(f"/users/{agent.user.id}/disable", headers=admin.with_cookie)
    assert page.status_code == 303
    assert client.get("/customers", headers=agent.with_cookie).headers["Location"].startswith("/sign-in")
    with database.read() as session:
        assert session.exec(select(SignIn).where(SignIn.user_id == agent.user.id)).all() == []
        assert session.get_one(User, agent.user.id).disabled_at is not None


def test_users_page_by_key(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/api/v1/users?limit=2{cursor}", headers=everybody[Role.admin].with_key).json()
        seen += [user["role"] for user in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(Role)


@pytest.mark.parametrize("verb", ["cancel", "undo"])
def test_an_agent_takes_back_only_their_own_letters(
    client: TestClient, everybody: dict[Role, Somebody], database: Database, verb: str
) -> None:
    other = somebody(database, Role.agent, "other")
    author = everybody[Role.agent]
    for person, status in ((other, 403), (everybody[Role.viewer], 403), (author, 303)):
        if person is not author:
            continue
        message = client.post("/api/v1/messages", json=DRAFT, headers=author.with_key).json()["id"]
        url = f"/messages/{message}/{verb}"
        refused = client.post(url, headers=other.with_cookie)
        assert refused.status_code == 403
        assert "agent wrote this letter" in refused.text
        assert "Cancel" not in client.get(f"/messages/{message}", headers=other.with_cookie).text.partition("<main")[2]
        assert "Cancel" in client.get(f"/messages/{message}", headers=author.with_cookie).text.partition("<main")[2]
        assert client.post(url, headers=person.with_cookie).status_code == status


@pytest.mark.parametrize("role", [Role.manager, Role.operator, Role.admin])
def test_a_manager_or_operator_takes_back_anybodys(
    client: TestClient, everybody: dict[Role, Somebody], role: Role
) -> None:
    message = client.post("/api/v1/messages", json=DRAFT, headers=everybody[Role.agent].with_key).json()["id"]
    answer = client.post(f"/api/v1/messages/{message}/cancel", headers=everybody[role].with_key)
    assert answer.status_code == 200


@pytest.mark.parametrize("way", ["key", "session"])
@pytest.mark.parametrize("role", list(Role))
def test_who_may_delete_whose_customer(
    client: TestClient, everybody: dict[Role, Somebody], database: Database, role: Role, way: str
) -> None:
    """Route × role × owner: their own, a colleague's of the same role, and one that nobody has."""
    visitor = everybody[role]
    headers = visitor.with_key if way == "key" else visitor.with_cookie
    colleague = somebody(database, role, "colleague")
    changes, removes_any = (is_role_for(role, BY_NAME[f"customers.{verb}"]) for verb in ("change", "remove_any"))
    with database.write() as session:
        for owner in (visitor, colleague, None):
            session.add(
                Customer(email="a@b.example", sort_name="a", sort_company="a", owner_id=owner and owner.user.id)
            )
    with database.read() as session:
        owned = {customer.owner_id: customer.id for customer in session.exec(select(Customer))}
    for owner_id, customer in owned.items():
        url = f"/api/v1/customers/{customer}"
        shown = client.get(url, headers=headers).json()
        assert shown["owner"] == (str(owner_id) if owner_id else None)
        if changes:
            assert client.patch(url, json={"phone": "1"}, headers=headers).status_code == 200, "everybody's"
        may = removes_any or (changes and owner_id == visitor.user.id)
        assert client.delete(url, headers=headers).status_code == (204 if may else 403), owner_id
        assert client.get(url, headers=headers).status_code == (404 if may else 200)


def test_who_adds_a_customer_owns_them(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    agent = everybody[Role.agent]
    made = client.post("/api/v1/customers", json={"email": "a@b.example"}, headers=agent.with_key).json()
    assert made["owner"] == str(agent.user.id)
    added = client.post("/customers", data={"email": "c@b.example"}, headers=agent.with_cookie)
    page = client.get(added.headers["Location"], headers=everybody[Role.viewer].with_cookie).text
    assert "added by <bdi>agent</bdi>" in page
    listed = client.get("/api/v1/customers", headers=agent.with_key).json()["items"]
    assert {each["owner"] for each in listed} == {str(agent.user.id)}


def test_a_narrow_key_deletes_only_what_its_user_added(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    manager, agent = everybody[Role.manager], everybody[Role.agent]
    with database.write() as session:
        session.exec(select(ApiKey).where(ApiKey.user_id == manager.user.id)).one().scope = ["customers.change"]
    made = [
        client.post("/api/v1/customers", json={"email": "a@b.example"}, headers=person.with_key).json()["id"]
        for person in (manager, agent)
    ]
    gone = [client.delete(f"/api/v1/customers/{each}", headers=manager.with_key).status_code for each in made]
    assert gone == [204, 403]


def verb_of(method: str, url: str) -> Verb:
    """As the router finds it: what has fewer parameters comes first."""
    path = url.partition("?")[0].partition("#")[0]
    for route in sorted(BY_ROUTE, key=lambda route: route.count("{")):
        pattern = re.sub(r"\{[^}]*:path\}", ".+", route)
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), f"{method} {path}"):
            return BY_ROUTE[route]
    raise AssertionError(f"{method} {url} leads nowhere")


def leads_to(html: str) -> set[tuple[str, str]]:
    """Links as GET, forms by their method."""
    found = {("GET", url) for url in re.findall(r'<a [^>]*href="(/[^"]*)"', html)}
    for form in re.findall(r"<form [^>]*>", html):
        if action := re.search(r'action="([^"]*)"', form):
            found.add(("POST" if 'method="post"' in form else "GET", action[1]))
    return found


@pytest.mark.parametrize("role", list(Role))
def test_every_link_and_button_leads_where_that_person_may_go(
    client: TestClient, everybody: dict[Role, Somebody], crm: Crm, role: Role
) -> None:
    admin, visitor = everybody[Role.admin].with_key, everybody[role]
    customer = client.post("/api/v1/customers", json={"email": "a@b.example"}, headers=admin).json()["id"]
    client.post(f"/api/v1/customers/{customer}/contacts", json={"email": "c@b.example"}, headers=admin)
    pending = client.post("/api/v1/messages", json=DRAFT, headers=admin).json()["id"]
    failed = crm.send()
    settle(crm, failed.id, **{"ada@example.com": "failed"})
    pages = ["/customers", f"/customers/{customer}", "/customers?q=nobody@x.example", "/messages", "/account"]
    pages += [f"/messages/{pending}", f"/messages/{failed.id}", "/search?q=nobody@x.example", "/help/keys"]
    for path in pages:
        answer = client.get(path, headers=visitor.with_cookie)
        assert answer.status_code == 200
        for method, url in leads_to(answer.text):
            verb = verb_of(method, url)
            assert not verb.roles or is_role_for(role, verb), f"{path} leads a {role} to {method} {url}"
            if verb.name == "messages.change":
                assert is_role_for(role, BY_NAME["messages.change_any"]), "these letters are somebody else's"
