"""To as a plain form sends it, and every other field for an address: what was pasted is read as address lists are."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.models import User
from crm_api.customers.models import Contact, Customer
from crm_api.db import Database
from crm_api.messages.models import Delivery
from tests.support.crm import Crm
from tests.support.forms import fields_of
from tests.support.scenes import settle

PASTED = "\"Holt, Ida\" <ida@example.com>; Ek, Bo <bo@example.org>; 'eve@example.net'; tom@example.com (Tom Okoro)"


def _chips(page: str) -> list[str]:
    return [unescape(value) for value in re.findall(r'name="to" value="([^"]*)"', page)]


def test_a_pasted_list_is_sent_to_each_of_them(browser: TestClient, database: Database) -> None:
    shown = browser.post("/messages/compose", data={"typed": PASTED, "do": "show"})
    chips = _chips(shown.text)
    assert chips == [
        'email:"Holt, Ida" <ida@example.com>',
        'email:"Ek, Bo" <bo@example.org>',
        "email:eve@example.net",
        "email:Tom Okoro <tom@example.com>",
    ]
    assert "chip.bad" not in shown.text
    again = browser.post("/messages/compose", data={"to": chips, "typed": "IDA@example.com, marta", "do": "show"})
    assert _chips(again.text) == [*chips, "email:marta"], "who is there already is not added again"
    sent = browser.post("/messages", data={"to": chips, "subject": "Hello", "markdown": "Dear all"})
    assert sent.status_code == 303, sent.text
    with database.read() as session:
        rows = session.exec(select(Delivery)).all()
    assert sorted((row.name, row.address) for row in rows) == [
        ("", "eve@example.net"),
        ("Ek, Bo", "bo@example.org"),
        ("Holt, Ida", "ida@example.com"),
        ("Tom Okoro", "tom@example.com"),
    ]


def test_what_is_no_address_is_a_name_or_comes_back(browser: TestClient, crm: Crm) -> None:
    marta = crm.customer(first_name="Marta", last_name="Lindqvist", email="marta@example.com")
    typed = "Marta Lindqvist, Ida <ida@example.com>, nobody at all"
    answer = browser.post("/messages", data={"typed": typed, "subject": "x", "markdown": "y"})
    assert answer.status_code == 422
    assert _chips(answer.text) == [f"customer:{marta.id}", "email:Ida <ida@example.com>", "email:nobody at all"]


def test_a_copy_keeps_names_with_commas(browser: TestClient, crm: Crm) -> None:
    message = crm.send(to=[{"email": "ida@example.com", "name": 'Holt, Ida "Pip" <x>'}])
    page = browser.get(f"/messages/new?from={message.id}").text
    assert _chips(page) == ['email:"Holt, Ida \\"Pip\\" <x>" <ida@example.com>']


@pytest.mark.parametrize(
    ("pasted", "first", "last"),
    [
        ("Ida Holt <ida@example.com>", "Ida", "Holt"),
        ('"Holt, Ida Maria" <ida@example.com>', "Ida Maria", "Holt"),
        ("ida@example.com (Ida)", "Ida", ""),
        ("mailto:ida@example.com", "", ""),
        ("<ida@example.com>;", "", ""),
    ],
)
def test_an_address_that_is_pasted_with_its_name(
    browser: TestClient, database: Database, pasted: str, first: str, last: str
) -> None:
    url = browser.post("/customers", data={"email": pasted, "company": "Holt Trees"}).headers["Location"]
    browser.post(f"{url}/contacts", data={"email": pasted, "phone": "1", "first_name": "" if first else "Ida"})
    with database.read() as session:
        customer, contact = session.exec(select(Customer)).one(), session.exec(select(Contact)).one()
    for person in (customer, contact):
        assert person.email == "ida@example.com"
        assert (person.first_name, person.last_name) == (first or (person.first_name), last)
    path = f"{url}/edit"
    form = fields_of(browser.get(path).text, path)
    browser.post(path, data=form | {"email": "Bo Ek <bo@example.org>"})
    with database.read() as session:
        changed = session.exec(select(Customer)).one()
    assert changed.email == "bo@example.org"
    if first:
        assert (changed.first_name, changed.last_name) == (first, last), "a name that is there stays"


def test_several_addresses_are_refused_in_words_and_nothing_is_lost(browser: TestClient) -> None:
    answer = browser.post("/customers", data={"email": "a@example.com, b@example.com", "phone": "1"})
    assert answer.status_code == 422
    assert "Write one address here; these are several." in answer.text
    assert 'value="a@example.com, b@example.com"' in answer.text


def test_other_fields_for_an_address(browser: TestClient, crm: Crm, user: User) -> None:
    with crm.database.write() as session:
        session.get_one(User, user.id).role = "admin"
    made = browser.post("/users", data={"email": '"Okoro, Tom" <tom@example.com>', "name": "", "role": "agent"})
    assert made.status_code == 303, made.text
    with crm.database.read() as session:
        tom = session.exec(select(User).where(User.email == "tom@example.com")).one()
    assert tom.name == "Okoro, Tom"
    message = crm.send("ada@example.com")
    settle(crm, message.id, **{"ada@example.com": "failed"})
    delivery = crm.delivery(message.id)
    retry = f"/messages/{message.id}/deliveries/{delivery.id}/retry"
    assert browser.post(retry, data={"address": "a@example.com; b@example.com"}).status_code == 422
    assert browser.post(retry, data={"address": "Ada Byron <ada@new.example>"}).status_code == 303
    assert crm.delivery(message.id).address == "ada@new.example"
    page = browser.get("/sandbox", params={"to": "Ada Byron <ada@new.example>"})
    assert "Nothing came for ada@new.example." in page.text


def test_the_api_takes_one_address_and_no_list(api: TestClient) -> None:
    draft = {"to": [{"email": "Ida <ida@example.com>, Bo <bo@example.com>"}], "subject": "x", "text": "y"}
    assert api.post("/api/v1/messages", json=draft).status_code == 422
    one = draft | {"to": [{"email": "Ida <ida@example.com>"}]}
    assert api.post("/api/v1/messages", json=one).json()["deliveries"][0]["address"] == "ida@example.com"
    assert api.post("/api/v1/customers", json={"email": "Ida <ida@example.com>"}).status_code == 422
