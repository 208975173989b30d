"""One address written in several ways, and names and tags that look the same: one for every room."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.service import Visitor, clean_login, sign_in
from crm_api.customers.words import fold, same_look
from crm_api.errors import Invalid
from crm_api.messages import service
from crm_api.messages.actions import retry
from crm_api.messages.models import Suppression
from crm_api.messages.states import State
from crm_api.outcomes import store as outcomes
from crm_api.sandbox.store import NewMail, SandboxStore
from shared.contracts import Outcome, OutcomeKind
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.people import EMAIL, PASSWORD

WAYS = [
    ("ida@example.com", "IDA@Example.COM"),
    ("ida@bücher.example", "ida@xn--bcher-kva.example"),
    ("ida@bücher.example", "Ida@BU\u0308CHER.example"),
    ("jürgen@example.com", "JU\u0308RGEN@ｅｘａｍｐｌｅ.com"),
]
ways = pytest.mark.parametrize(("first", "second"), WAYS)


def refused_by_server(crm: Crm, message_id: Any) -> None:
    delivery, at = crm.delivery(message_id), datetime.now(UTC)
    outcome = Outcome(
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=1,
        lane=Lane.urgent,
        kind=OutcomeKind.failed,
        phase="rcpt",
        reason="There is no such mailbox.",
        worker="north/1",
        host="x",
        received_at=at,
        finished_at=at,
        suppress=True,
    )
    with crm.database.write() as session:
        outcomes.apply(session, [outcome], at)


@ways
def test_what_takes_no_mail_takes_none_however_it_is_written(crm: Crm, first: str, second: str) -> None:
    refused_by_server(crm, crm.send(first).id)
    held = crm.delivery(crm.send(second).id)
    assert held.state == State.suppressed
    with crm.database.write() as session:
        retry(session, crm.settings, held.id, crm.principal)
        assert session.exec(select(Suppression)).all() == []
    assert crm.delivery(crm.send(first).id).state == State.pending


@ways
def test_nobody_is_written_to_twice(crm: Crm, first: str, second: str) -> None:
    with pytest.raises(Invalid, match="already written to"):
        crm.send(first, second)


@ways
def test_messages_are_found_by_it(crm: Crm, first: str, second: str) -> None:
    sent = {crm.send(first).id, crm.send(second).id}
    crm.send("ida@elsewhere.example")
    for query in (first, second, second[:-6]):
        with crm.database.read() as session:
            rows, _ = service.list_page(session, query=query)
        assert {row.id for row in rows} == sent, query


@ways
def test_customers_of_the_same_address_are_named_and_found(api: TestClient, first: str, second: str) -> None:
    one = api.post("/api/v1/customers", json={"first_name": "A", "email": first}).json()
    two = api.post("/api/v1/customers", json={"first_name": "B", "email": second}).json()
    assert [each["id"] for each in two["same_address"]] == [one["id"]]
    for query in (first, second):
        found = api.get("/api/v1/customers", params={"q": query}).json()["items"]
        assert {each["id"] for each in found} == {one["id"], two["id"]}
    moved = api.patch(f"/api/v1/customers/{two['id']}", json={"email": "else@example.com"}).json()
    assert moved["same_address"] == []


@ways
def test_people_sign_in_with_any_of_them(first: str, second: str) -> None:
    assert clean_login(first) == clean_login(second)


def test_people_sign_in_with_capitals(crm: Crm) -> None:
    assert sign_in(crm.database, f" {EMAIL.upper()} ", PASSWORD, Visitor())


@ways
def test_the_sandbox_finds_what_went_to_it(tmp_path: Any, first: str, second: str) -> None:
    store = SandboxStore(tmp_path / "sandbox.sqlite")
    store.add([NewMail("crm@example.com", [first], b"Subject: x\r\n\r\nx\r\n")])
    assert store.count(second) == 1
    assert len(store.list(second)) == 1


LOOKS = [
    ("büro", "bu\u0308ro"),
    ("vip", "ＶＩＰ"),
    ("vip", "v\u200bi\u00adp\ufeff"),
    ("vip kunde", "\u00a0VIP\u2003kunde "),
    ("fin", "ﬁn"),
    ("vip", "vi\u200dp\u200c"),
    ("å", "\u212b"),
]


@pytest.mark.parametrize(("first", "second"), LOOKS)
def test_tags_that_look_the_same_are_one(api: TestClient, first: str, second: str) -> None:
    one = api.post("/api/v1/customers", json={"company": "A", "tags": [first]}).json()
    two = api.post("/api/v1/customers", json={"company": "B", "tags": [second, first]}).json()
    assert one["tags"] == two["tags"] == [first]
    found = api.get("/api/v1/customers", params={"tag": second}).json()["items"]
    assert {each["id"] for each in found} == {one["id"], two["id"]}


@pytest.mark.parametrize("name", ["👩\u200d🌾", "می\u200cخواهم", "naïve", "straße"])
def test_what_changes_a_look_stays_in_a_tag(name: str) -> None:
    assert same_look(name) == name


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("Müller", "Mu\u0308ller"),
        ("Mu\u0308ller", "MÜLLER"),
        ("Ｍｕｌｌｅｒ", "muller"),
        ("Mül\u200bler", "müller"),
        ("Mül\u00adler", "muller"),
        ("Müller\ufeff", "müller"),
    ],
)
def test_names_are_found_in_any_form(api: TestClient, name: str, query: str) -> None:
    made = api.post("/api/v1/customers", json={"last_name": name}).json()
    found = api.get("/api/v1/customers", params={"q": query}).json()["items"]
    assert [each["id"] for each in found] == [made["id"]]
    assert fold(name) == fold(query)


def test_names_are_kept_in_one_form(api: TestClient) -> None:
    made = api.post("/api/v1/customers", json={"last_name": "Mu\u0308l\tler", "company": "A\u2028B"}).json()
    assert (made["last_name"], made["company"]) == ("Mül ler".replace("ü", "\u00fc"), "A B")
