"""ETag and If-Match, on everything that has both."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.auth.models import User
from crm_api.db import Database
from crm_api.errors import PreconditionFailed
from crm_api.preconditions import Condition, etag_of

CUSTOMERS = "/api/v1/customers"


@pytest.mark.parametrize(
    ("header", "fits"),
    [
        (None, True),
        ("*", True),
        (" * ", True),
        ('"one"', True),
        (' "other" ,\t"one"', True),
        (',, "one",', True),
        ('W/"one", "one"', True),
        ('"a,b", "one"', True),
        ('W/"one"', False),
        ('"other"', False),
        ('"ONE"', False),
        ("one", False),
        ('"one" "other"', False),
        ('"one', False),
        ('*, "one"', False),
        ("", False),
        (",", False),
        ('"on\x00e", "one"', False),
    ],
)
def test_what_if_match_asks_for(header: str | None, fits: bool) -> None:

    condition = Condition(header)
    if fits:
        condition.check('"one"')
    else:
        with pytest.raises(PreconditionFailed) as caught:
            condition.check('"one"')
        assert caught.value.etag == '"one"'


def test_a_long_list_is_read_in_one_go() -> None:
    assert Condition('"a" ,' * 100_000 + '"one"').check('"one"') is None  # type: ignore[func-returns-value]
    assert etag_of("a", ["b"]) != etag_of("a", ["b", ""])


@pytest.fixture
def customer(api: TestClient) -> dict[str, Any]:
    made: dict[str, Any] = api.post(CUSTOMERS, json={"first_name": "Marta", "phone": "1", "tags": ["sv"]}).json()
    return made


Resource = tuple[str, dict[str, Any], dict[str, Any]]


@pytest.fixture(params=["customer", "contact", "user"])
def resource(request: pytest.FixtureRequest, api: TestClient, database: Database, user: User) -> Resource:
    """Its URL, a change, and another one to another field."""
    with database.write() as session:
        session.get_one(User, user.id).role = "admin"
    if request.param == "user":
        body = {"email": "tom@example.com", "name": "Tom", "role": "agent"}
        return f"/api/v1/users/{api.post('/api/v1/users', json=body).json()['id']}", {"name": "T"}, {"role": "manager"}
    url = f"{CUSTOMERS}/{api.post(CUSTOMERS, json={'first_name': 'Marta'}).json()['id']}"
    if request.param == "contact":
        made = api.post(f"{url}/contacts", json={"first_name": "Nils"})
        assert made.headers["Location"].startswith(url)
        url = made.headers["Location"]
    return url, {"last_name": "Ek"}, {"phone": "2"}


def test_only_the_version_that_was_read_is_changed(api: TestClient, resource: Resource) -> None:
    url, change, other = resource
    first = api.get(url).headers["ETag"]
    assert api.get(url).headers["ETag"] == first
    changed = api.patch(url, json=change, headers={"If-Match": first})
    assert changed.status_code == 200
    second = changed.headers["ETag"]
    assert second != first
    assert api.get(url).headers["ETag"] == second
    before = api.get(url).json()
    for stale in (first, f"W/{second}", second.strip('"'), f'{first}, "x"'):
        refused = api.patch(url, json=other, headers={"If-Match": stale})
        assert refused.status_code == 412, stale
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["ETag"] == second
        assert refused.json()["type"] == "/help/api#problem-precondition-failed"
    assert api.get(url).json() == before
    assert api.patch(url, json=other, headers={"If-Match": f'"x", {second}'}).status_code == 200
    assert api.patch(url, json=other, headers={"If-Match": "*"}).status_code == 200
    back = api.patch(url, json=change)
    assert back.status_code == 200, "without If-Match nobody is asked"


def test_several_header_lines_are_one_list(api: TestClient, customer: dict[str, Any]) -> None:
    url = f"{CUSTOMERS}/{customer['id']}"
    etag = api.get(url).headers["ETag"]
    lines = [("If-Match", '"x"'), ("If-Match", etag)]
    assert api.patch(url, json={"phone": "2"}, headers=lines).status_code == 200


@pytest.mark.parametrize("verb", ["archive", "delete", "contact", "restore"])
def test_nothing_else_is_done_to_another_version(api: TestClient, customer: dict[str, Any], verb: str) -> None:
    url = f"{CUSTOMERS}/{customer['id']}"
    person = api.post(f"{url}/contacts", json={"first_name": "Nils"}).headers["Location"]
    stale, stale_person = api.get(url).headers["ETag"], api.get(person).headers["ETag"]
    api.patch(url, json={"phone": "2"})
    api.patch(person, json={"phone": "2"})
    act: Callable[[str | None], Any] = {
        "archive": lambda tag: api.post(f"{url}/archive", headers={"If-Match": tag or api.get(url).headers["ETag"]}),
        "restore": lambda tag: api.post(f"{url}/restore", headers={"If-Match": tag or api.get(url).headers["ETag"]}),
        "delete": lambda tag: api.delete(url, headers={"If-Match": tag or api.get(url).headers["ETag"]}),
        "contact": lambda tag: api.delete(person, headers={"If-Match": tag or api.get(person).headers["ETag"]}),
    }[verb]
    assert act(stale_person if verb == "contact" else stale).status_code == 412
    assert api.get(url).json()["archived"] is False
    assert api.get(person).status_code == 200
    assert act(None).status_code in (200, 204)


def test_what_is_gone_is_gone(api: TestClient, customer: dict[str, Any]) -> None:
    url = f"{CUSTOMERS}/{customer['id']}"
    assert api.delete(url, headers={"If-Match": "*"}).status_code == 204
    for headers in ({"If-Match": "*"}, {"If-Match": '"x"'}, {}):
        assert api.patch(url, json={"phone": "2"}, headers=headers).status_code == 404


def test_tags_are_added_and_removed_without_the_others(api: TestClient, customer: dict[str, Any]) -> None:
    url = f"{CUSTOMERS}/{customer['id']}"
    etag = api.get(url).headers["ETag"]
    assert api.patch(url, json={"add_tags": ["vip", "SV"], "remove_tags": ["none"]}).json()["tags"] == ["sv", "vip"]
    assert api.get(url).headers["ETag"] != etag
    assert api.patch(url, json={"remove_tags": ["sv"]}).json()["tags"] == ["vip"]
    assert api.patch(url, json={"tags": [], "add_tags": ["x"]}).status_code == 422
    many = {"add_tags": [f"t{n}" for n in range(50)]}
    assert api.patch(url, json=many).json()["errors"][0]["field"] == "tags"
    line = api.get(f"{url}/timeline").json()["items"][0]
    assert line["data"] == {"tags": {"added": [], "removed": ["sv"]}}


def test_the_document_says_it(app: FastAPI) -> None:
    told = 0
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            asks = any(it["name"] == "If-Match" for it in operation.get("parameters", ()))
            assert ("412" in operation["responses"]) is asks, f"{method} {path}"
            if asks and method in ("patch", "delete"):
                answer = methods["get"]["responses"]["200"]
                assert "ETag" in answer["headers"], path
                told += 1
    assert told == 5
    for path, methods in app.openapi()["paths"].items():
        for method in {"patch", "put"} & set(methods):
            assert any(it["name"] == "If-Match" for it in methods[method].get("parameters", ())), f"{method} {path}"
