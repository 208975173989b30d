"""/api/v1/customers."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.models import User
from crm_api.customers.models import CustomerEntry, CustomerWord
from crm_api.db import Database
from crm_api.settings import CrmSettings
from tests.support.crm import crm_of

CUSTOMERS = "/api/v1/customers"
MARTA = {
    "first_name": "Marta",
    "last_name": "Lindqvist",
    "company": "Lindqvist Trädgård",
    "email": "marta@lindqvist-tradgard.example",
    "phone": "+46 31 555 01 47",
    "address": "Trädgårdsgatan 12\n411 08 Göteborg",
    "language": "Swedish",
    "tags": ["Architect", "sv", "architect "],
}


def _make(api: TestClient, **members: Any) -> dict[str, Any]:
    answer = api.post(CUSTOMERS, json=members or MARTA)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _line(api: TestClient, customer: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = api.get(f"{CUSTOMERS}/{customer['id']}/timeline", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_customer_is_made_read_and_found(api: TestClient) -> None:
    answer = api.post(CUSTOMERS, json=MARTA)
    made = answer.json()
    assert answer.headers["Location"] == f"{CUSTOMERS}/{made['id']}"
    assert made["name"] == "Marta Lindqvist"
    assert made["address"] == "Trädgårdsgatan 12, 411 08 Göteborg"
    assert made["tags"] == ["architect", "sv"]
    assert made["written_at"] is None
    assert api.get(answer.headers["Location"]).json() == made
    for q in (
        "marta",
        "LINDQVIST m",
        "tradgard",
        "lindqvist-trad",
        "marta@lindqvist-tradgard.example",
        "0147",
        "555 01",
    ):
        found = api.get(CUSTOMERS, params={"q": q}).json()["items"]
        assert [it["id"] for it in found] == ([] if q == "0147" else [made["id"]]), q
    assert api.get(CUSTOMERS, params={"q": "arta"}).json()["items"] == []
    assert len(api.get(CUSTOMERS, params={"tag": "ARCHITECT"}).json()["items"]) == 1
    assert api.get(CUSTOMERS, params={"tag": "unknown"}).json()["items"] == []
    assert api.get(f"{CUSTOMERS}/tags").json() == ["architect", "sv"]


def test_every_change_says_who_what_from_and_to(api: TestClient) -> None:
    made = _make(api)
    url = f"{CUSTOMERS}/{made['id']}"
    patched = api.patch(
        url, json={"phone": "+46 31 555 01 99", "company": " Lindqvist  AB ", "tags": ["sv", "vip"]}
    ).json()
    assert (patched["phone"], patched["tags"]) == ("+46 31 555 01 99", ["sv", "vip"])
    assert patched["changed_at"] > made["changed_at"]
    changed, created = _line(api, made)
    assert (created["kind"], created["by"]) == ("created", "Ida Holt")
    assert changed["kind"] == "changed"
    assert changed["data"] == {
        "changes": {
            "phone": ["+46 31 555 01 47", "+46 31 555 01 99"],
            "company": ["Lindqvist Trädgård", "Lindqvist  AB"],
        },
        "tags": {"added": ["vip"], "removed": ["architect"]},
    }
    api.patch(url, json={"phone": "+46 31 555 01 99"})
    assert len(_line(api, made)) == 2, "nothing changed, nothing noted"
    assert api.get(CUSTOMERS, params={"q": "tradgard"}).json()["items"] == [patched | {"same_address": None}], (
        "by address"
    )
    api.patch(url, json={"email": "m@example.com"})
    assert api.get(CUSTOMERS, params={"q": "tradgard"}).json()["items"] == [], "old words are gone"


def test_archived_customers_are_out_of_the_list_and_come_back(api: TestClient) -> None:
    made = _make(api)
    url = f"{CUSTOMERS}/{made['id']}"
    assert api.post(f"{url}/archive").json()["archived"]
    assert api.post(f"{url}/archive").json()["archived"]
    assert api.get(CUSTOMERS).json()["items"] == []
    assert len(api.get(CUSTOMERS, params={"archived": True, "q": "marta"}).json()["items"]) == 1
    assert not api.post(f"{url}/restore").json()["archived"]
    assert [line["kind"] for line in _line(api, made)] == ["restored", "archived", "created"]


def test_contacts_are_kept_found_and_noted(api: TestClient) -> None:
    made = _make(api)
    url = f"{CUSTOMERS}/{made['id']}/contacts"
    nils = api.post(url, json={"first_name": "Nils", "role": "Planting", "email": "nils@example.com"}).json()
    assert nils["name"] == "Nils"
    assert len(api.get(CUSTOMERS, params={"q": "nils"}).json()["items"]) == 1
    api.patch(f"{url}/{nils['id']}", json={"first_name": "Niels"})
    assert [it["first_name"] for it in api.get(url).json()] == ["Niels"]
    assert api.get(CUSTOMERS, params={"q": "niels"}).json()["items"]
    assert api.delete(f"{url}/{nils['id']}").status_code == 204
    assert api.get(url).json() == []
    assert api.get(CUSTOMERS, params={"q": "niels"}).json()["items"] == []
    removed, changed, added, _ = _line(api, made)
    assert (added["data"]["verb"], added["data"]["name"]) == ("added", "Nils")
    assert changed["data"]["changes"] == {"first_name": ["Nils", "Niels"]}
    assert removed["data"]["was"] == {"first_name": "Niels", "role": "Planting", "email": "nils@example.com"}
    other = _make(api, company="Other")
    assert api.patch(f"{CUSTOMERS}/{other['id']}/contacts/{nils['id']}", json={}).status_code == 404


def test_the_time_line_merges_notes_changes_and_letters_page_by_page(
    api: TestClient, settings: CrmSettings, database: Database, user: User
) -> None:
    made = _make(api)
    crm = crm_of(settings, database, user)
    for number in range(6):
        api.post(f"{CUSTOMERS}/{made['id']}/notes", json={"text": f"note {number}\r\nsecond line"})
        crm.send(to=[{"customer_id": made["id"]}], subject=f"letter {number}")
    whole = _line(api, made)
    assert [line["kind"] for line in whole] == ["letter", "note"] * 6 + ["created"]
    assert whole[0]["text"] == "letter 5"
    assert (whole[0]["state"], whole[0]["by"]) == ("pending", "Ida Holt")
    assert whole[1]["text"] == "note 5\nsecond line"
    pages: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"{CUSTOMERS}/{made['id']}/timeline", params=params).json()
        pages += page["items"]
        cursor = page["next"]
        if not cursor:
            break
    assert pages == whole
    assert {line["kind"] for line in _line(api, made, kind="letters")} == {"letter"}
    assert {line["kind"] for line in _line(api, made, kind="notes")} == {"note"}
    assert {line["kind"] for line in _line(api, made, kind="changes")} == {"created"}
    assert api.get(f"{CUSTOMERS}/{made['id']}").json()["written_at"] is not None


def test_an_address_may_belong_to_several_and_that_is_said(api: TestClient) -> None:
    first = _make(api)
    second = _make(api, first_name="Nils", email="MARTA@Lindqvist-Tradgard.example".replace("MARTA", "marta"))
    assert second["same_address"] == [{"id": first["id"], "name": "Marta Lindqvist"}]
    assert api.get(f"{CUSTOMERS}/{first['id']}").json()["same_address"] == [{"id": second["id"], "name": "Nils"}]


def test_only_one_that_nothing_was_written_to_can_be_deleted(
    api: TestClient, settings: CrmSettings, database: Database, user: User
) -> None:
    made, other = _make(api), _make(api, company="Other")
    api.post(f"{CUSTOMERS}/{other['id']}/contacts", json={"first_name": "Nils"})
    crm_of(settings, database, user).send(to=[{"customer_id": made["id"]}])
    assert api.delete(f"{CUSTOMERS}/{made['id']}").status_code == 409
    assert api.delete(f"{CUSTOMERS}/{other['id']}").status_code == 204
    assert api.get(f"{CUSTOMERS}/{other['id']}").status_code == 404
    with database.read() as session:
        left = {str(row.customer_id) for row in session.exec(select(CustomerWord))}
    assert left == {made["id"]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "first_name"),
    ({"first_name": " ", "email": ""}, "first_name"),
    ({"email": "marta"}, "email"),
    ({"email": "marta@"}, "email"),
    ({"email": "a@example.com\r\nBcc: b@example.com"}, "email"),
    ({"first_name": "Mar\0ta"}, "first_name"),
    ({"first_name": "x" * 101}, "first_name"),
    ({"company": "x", "tags": ["a,b"]}, "tags[0]"),
    ({"company": "x", "tags": ["x" * 51]}, "tags[0]"),
    ({"company": "x", "tags": [str(n) for n in range(51)]}, "tags"),
    ({"company": "x", "phone": "\x1b[31m"}, "phone"),
    ({"company": "x", "colour": "red"}, "colour"),
    ({"company": 5}, "company"),
    ({"company": "x", "tags": "a"}, "tags"),
]


def test_what_is_wrong_is_named_and_changes_nothing(api: TestClient, database: Database) -> None:
    made = _make(api)
    for body, field in WRONG:
        answer = api.post(CUSTOMERS, json=body)
        assert answer.status_code == 422, body
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] == field, body
        if body not in ({},):
            patched = api.patch(
                f"{CUSTOMERS}/{made['id']}", json={"first_name": "", "last_name": "", "company": "", "email": ""} | body
            )
            assert patched.status_code == 422, body
    for note in ("", "  \n ", "\0", "x" * 20_001):
        assert api.post(f"{CUSTOMERS}/{made['id']}/notes", json={"text": note}).status_code == 422
    assert api.get(f"{CUSTOMERS}/{made['id']}").json() == made
    with database.read() as session:
        assert len(session.exec(select(CustomerEntry)).all()) == 1
    both = api.post(CUSTOMERS, json={"email": "x", "phone": "\x07"}).json()
    assert [error["field"] for error in both["errors"]] == ["email", "phone"]


def test_line_breaks_and_spaces_are_put_right(api: TestClient) -> None:
    made = _make(api, first_name=" Marta\n", last_name="van\r\nder Berg", email=" a@EXAMPLE.com ")
    assert (made["first_name"], made["last_name"], made["email"]) == ("Marta", "van der Berg", "a@example.com")


def test_who_is_not_there_is_404_everywhere(api: TestClient) -> None:
    url = f"{CUSTOMERS}/{uuid4()}"
    answers = [
        api.get(url), api.patch(url, json={}), api.delete(url), api.post(f"{url}/archive"), api.post(f"{url}/restore"),
        api.get(f"{url}/timeline"), api.post(f"{url}/notes", json={"text": "x"}), api.get(f"{url}/contacts"),
        api.post(f"{url}/contacts", json={"first_name": "x"}), api.delete(f"{url}/contacts/{uuid4()}"),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert api.get(f"{CUSTOMERS}/x").status_code == 422


@pytest.mark.parametrize("q", ["%", "_", "'", "\0", "\ud83d\ude00", "a" * 200, "☃ ☃", "\\", "*"])
def test_any_text_may_be_searched_for(api: TestClient, q: str) -> None:
    _make(api)
    assert api.get(CUSTOMERS, params={"q": q.encode("utf-16", "surrogatepass").decode("utf-16")}).status_code == 200
