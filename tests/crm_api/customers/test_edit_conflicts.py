"""Two people edit one customer, contact or user at the same time. Forms as a browser without JavaScript sends them."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from crm_api.account import service as account
from crm_api.audit.models import AuditEntry
from crm_api.auth.models import User
from crm_api.auth.passwords import check_password
from crm_api.auth.principal import Principal
from crm_api.auth.service import Visitor
from crm_api.customers import service
from crm_api.customers.models import Contact, Customer, CustomerEntry
from crm_api.db import Database
from crm_api.edits import Clash, EditConflict
from crm_api.errors import Invalid
from crm_api.users import service as users
from tests.support.crm import Crm
from tests.support.forms import fields_of
from tests.support.people import PASSWORD
from tests.support.scenes import settle

KEPT = {
    "first_name": "Marta",
    "last_name": "Lindqvist",
    "company": "Lindqvist Trädgård",
    "email": "marta@example.com",
    "phone": "+46 31 555 01 47",
    "address": "Trädgårdsgatan 12, 411 08 Göteborg",
    "language": "Swedish",
}
NILS = {"first_name": "Nils", "last_name": "Ek", "role": "Planting", "email": "nils@example.com", "phone": "1"}


@pytest.fixture
def bo(crm: Crm) -> Principal:
    """The other one."""
    return Principal(crm.principal.user_id, "Bo Ek", "bo@example.com", "agent", "page", "user:bo")


@pytest.fixture
def customer(crm: Crm) -> Customer:
    with crm.database.write() as session:
        return service.create(session, crm.principal, KEPT, ["architect", "sv"])


@pytest.fixture
def contact(crm: Crm, customer: Customer) -> Contact:
    with crm.database.write() as session:
        return service.add_contact(session, crm.principal, customer.id, NILS)


def _kept(database: Database, customer: Customer) -> tuple[Customer, list[str]]:
    with database.read() as session:
        return service.get(session, customer.id), service.tags_of(session, [customer.id])[customer.id]


def _lines(database: Database) -> list[tuple[str, str, dict[str, object]]]:
    """Who, what kind, with what: oldest first."""
    with database.read() as session:
        rows = session.exec(select(CustomerEntry).order_by(col(CustomerEntry.id)))
        return [(row.by, row.kind, row.data) for row in rows]


def _open(browser: TestClient, path: str) -> dict[str, str]:
    return fields_of(browser.get(path).text, path)


def _words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html.split("<main")[1]).split()))


@pytest.mark.parametrize("mine", KEPT)
def test_of_each_is_written_what_they_changed(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer, mine: str
) -> None:
    """Any field of mine, while somebody else changes all the others."""
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path)
    others = {name: "other@example.com" if name == "email" else f"Other {name}" for name in KEPT if name != mine}
    with crm.database.write() as session:
        service.update(session, bo, customer.id, others)
    value = "mine@example.com" if mine == "email" else "Mine"
    answer = browser.post(path, data=form | {mine: value})
    assert answer.status_code == 303, answer.text
    kept, tags = _kept(crm.database, customer)
    assert {name: getattr(kept, name) for name in KEPT} == others | {mine: value}
    assert tags == ["architect", "sv"]
    by, kind, data = _lines(crm.database)[-1]
    assert (by, kind, data) == ("Ida Holt", "changed", {"changes": {mine: [KEPT[mine], value]}})
    with crm.database.read() as session:
        entry = session.exec(
            select(AuditEntry).where(AuditEntry.action == "customer.changed").order_by(col(AuditEntry.id).desc())
        ).first()
    assert entry
    assert (entry.actor, entry.data) == ("Ida Holt", {"fields": [mine]})


def test_the_same_field_is_asked_about_with_both_values(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer
) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {"phone": "bo's <number>", "company": "Bo AB"})
    answer = browser.post(path, data=form | {"phone": "my number", "language": "Danish", "tags": "sv, vip"})
    assert answer.status_code == 409
    assert "Bo Ek has changed this, too" in _words(answer.text)
    assert "bo's <number>" in _words(answer.text)
    assert "“+46 31 555 01 47”" in _words(answer.text)
    again = fields_of(answer.text, path)
    assert (again["phone"], again["language"], again["company"]) == ("my number", "Danish", "Bo AB")
    assert again["tags"] == "sv, vip"
    assert again["pick.phone"] == "mine"
    assert _kept(crm.database, customer)[0].phone == "bo's <number>", "nothing is written before it is decided"
    assert len(_lines(crm.database)) == 2

    theirs = browser.post(path, data=again | {"pick.phone": "theirs"})
    assert theirs.status_code == 303
    kept, tags = _kept(crm.database, customer)
    assert (kept.phone, kept.language, kept.company, tags) == ("bo's <number>", "Danish", "Bo AB", ["sv", "vip"])
    assert _lines(crm.database)[-1][2] == {
        "changes": {"language": ["Swedish", "Danish"]},
        "tags": {"added": ["vip"], "removed": ["architect"]},
    }


def test_mine_wins_if_that_is_picked_unless_they_change_it_once_more(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer
) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {"phone": "second"})
    again = fields_of(browser.post(path, data=form | {"phone": "my number"}).text, path)
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {"phone": "third"})
    answer = browser.post(path, data=again)
    assert answer.status_code == 409
    assert "third" in _words(answer.text)
    once_more = fields_of(answer.text, path)
    assert browser.post(path, data=once_more).status_code == 303
    assert _kept(crm.database, customer)[0].phone == "my number"
    assert _lines(crm.database)[-1] == ("Ida Holt", "changed", {"changes": {"phone": ["third", "my number"]}})


def test_who_means_the_same_is_not_asked(browser: TestClient, crm: Crm, bo: Principal, customer: Customer) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {"phone": "the same"})
    assert browser.post(path, data=form | {"phone": " the same "}).status_code == 303
    assert [by for by, kind, _ in _lines(crm.database) if kind == "changed"] == ["Bo Ek"]


def test_tags_of_both_are_merged(browser: TestClient, crm: Crm, bo: Principal, customer: Customer) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {}, ["sv", "bo", "both"])
    assert browser.post(path, data=form | {"tags": "architect, ida, Both"}).status_code == 303
    assert _kept(crm.database, customer)[1] == ["bo", "both", "ida"]
    assert _lines(crm.database)[-1][2] == {"tags": {"added": ["ida"], "removed": ["sv"]}}


def test_a_form_sent_twice_is_one_change(browser: TestClient, crm: Crm, customer: Customer) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path) | {"phone": "new", "tags": "sv, vip"}
    assert [browser.post(path, data=form).status_code for _ in range(3)] == [303, 303, 303]
    assert [kind for _, kind, _ in _lines(crm.database)] == ["created", "changed"]
    assert _kept(crm.database, customer)[1] == ["sv", "vip"]


def test_a_mistake_does_not_lose_what_the_form_showed(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer
) -> None:
    path = f"/customers/{customer.id}/edit"
    wrong = browser.post(path, data=_open(browser, path) | {"email": "nowhere", "language": "Danish"})
    assert wrong.status_code == 422
    with crm.database.write() as session:
        service.update(session, bo, customer.id, {"phone": "second"})
    form = fields_of(wrong.text, path)
    assert browser.post(path, data=form | {"email": "m@example.com"}).status_code == 303
    kept, _ = _kept(crm.database, customer)
    assert (kept.phone, kept.email, kept.language) == ("second", "m@example.com", "Danish")


def test_what_is_wrong_since_long_ago_is_nobody_elses_business(
    browser: TestClient, crm: Crm, customer: Customer
) -> None:
    """A value that today's rules would refuse stays as it is while others are changed."""
    with crm.database.write() as session:
        session.get_one(Customer, customer.id).email = "not an address"
    path = f"/customers/{customer.id}/edit"
    assert browser.post(path, data=_open(browser, path) | {"phone": "new"}).status_code == 303
    assert _kept(crm.database, customer)[0].email == "not an address"


def test_archived_or_deleted_meanwhile_is_said(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer
) -> None:
    path = f"/customers/{customer.id}/edit"
    form = _open(browser, path) | {"phone": "new", "tags": "sv, vip"}
    with crm.database.write() as session:
        service.archive(session, bo, customer.id)
    assert browser.post(path, data=form).status_code == 303
    assert "Bo Ek has archived Marta Lindqvist in the meantime." in browser.get(f"/customers/{customer.id}").text
    browser.post(path, data=_open(browser, path) | {"phone": "newer"})
    assert "in the meantime" not in browser.get(f"/customers/{customer.id}").text, "it is known by now"
    with crm.database.write() as session:
        service.remove(session, bo, customer.id)
    answer = browser.post(path, data=form)
    assert answer.status_code == 409
    assert "Bo Ek has deleted this customer in the meantime" in _words(answer.text)
    anew = fields_of(answer.text, "/customers")
    assert (anew["phone"], anew["company"], anew["tags"]) == ("new", "Lindqvist Trädgård", "sv, vip")
    assert browser.post("/customers", data=anew).status_code == 303
    assert browser.post(f"/customers/{UUID(int=7)}/edit", data=form).status_code == 404


def test_a_contact_is_edited_by_two(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer, contact: Contact
) -> None:
    path = f"/customers/{customer.id}/contacts/{contact.id}"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update_contact(session, bo, customer.id, contact.id, {"role": "Pruning", "phone": "2"})
    answer = browser.post(path, data=form | {"last_name": "Holm", "phone": "3"})
    assert answer.status_code == 409
    assert "Bo Ek has changed this, too" in _words(answer.text)
    assert browser.post(path, data=fields_of(answer.text, path)).status_code == 303
    with crm.database.read() as session:
        kept = service.get_contact(session, customer.id, contact.id)
        assert (kept.role, kept.last_name, kept.phone) == ("Pruning", "Holm", "3")
    data = _lines(crm.database)[-1][2]
    assert data["changes"] == {"last_name": ["Ek", "Holm"], "phone": ["2", "3"]}


def test_a_contact_that_changed_is_looked_at_before_it_is_removed(
    browser: TestClient, crm: Crm, bo: Principal, customer: Customer, contact: Contact
) -> None:
    path = f"/customers/{customer.id}/contacts/{contact.id}"
    form = _open(browser, path)
    with crm.database.write() as session:
        service.update_contact(session, bo, customer.id, contact.id, {"role": "The new owner"})
    answer = browser.post(path, data=form | {"do": "remove"})
    assert answer.status_code == 409
    assert "Bo Ek has changed this contact in the meantime" in _words(answer.text)
    again = fields_of(answer.text, path)
    assert again["role"] == "The new owner"
    assert [browser.post(path, data=again | {"do": "remove"}).status_code for _ in range(2)] == [303, 303]
    assert [data["verb"] for _, kind, data in _lines(crm.database) if kind == "contact"] == [
        "added",
        "changed",
        "removed",
    ]
    gone = browser.post(path, data=form | {"phone": "new"})
    assert gone.status_code == 409
    assert "Ida Holt has removed this contact in the meantime" in _words(gone.text)
    anew = fields_of(gone.text, f"/customers/{customer.id}/contacts")
    assert (anew["phone"], anew["email"]) == ("new", "nils@example.com")


def test_a_user_is_edited_by_two_admins(browser: TestClient, crm: Crm, bo: Principal) -> None:
    with crm.database.write() as session:
        session.get_one(User, crm.principal.user_id).role = "admin"
        tom = users.add(session, crm.principal, "tom@example.com", "Tom", "agent")
    path = f"/users/{tom.id}"
    form = _open(browser, path)
    with crm.database.write() as session:
        users.change(session, bo, tom.id, None, "manager")
    assert browser.post(path, data=form | {"name": "Tom Okoro"}).status_code == 303
    with crm.database.read() as session:
        kept = users.get(session, tom.id)
        assert (kept.name, kept.role) == ("Tom Okoro", "manager")
    answer = browser.post(path, data=form | {"role": "operator", "name": "Thomas"})
    assert answer.status_code == 409
    said = _words(answer.text)
    assert "Bo Ek has changed this, too" in said
    assert "They are manager now; you chose operator." in said
    again = fields_of(answer.text, path)
    assert (again["role"], again["was.role"], again["name"], again["was.name"]) == (
        "operator",
        "manager",
        "Thomas",
        "Tom Okoro",
    )
    assert browser.post(path, data=again).status_code == 303
    with crm.database.read() as session:
        entry = session.exec(
            select(AuditEntry).where(AuditEntry.action == "user.changed").order_by(col(AuditEntry.id).desc())
        ).first()
    assert entry
    assert entry.data == {"role": ["manager", "operator"], "name": ["Tom Okoro", "Thomas"]}


def test_two_transactions_at_the_same_moment(crm: Crm, bo: Principal, customer: Customer) -> None:
    """Two writers saw the same: whoever comes second is told, and nothing of theirs is written."""

    def write(ready: threading.Barrier, value: str, by: Principal, seen: str) -> list[Clash]:
        ready.wait(30)
        try:
            with crm.database.write() as session:
                service.update(session, by, customer.id, {"phone": value}, seen={"phone": seen}, add_tags=[value])
        except EditConflict as problem:
            return problem.clashes
        return []

    seen = KEPT["phone"]
    for turn in range(5):
        ready = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(write, ready, f"{by.name} {turn}".lower(), by, seen) for by in (crm.principal, bo)]
        (clash,) = [clash for one in both for clash in one.result()]
        kept, tags = _kept(crm.database, customer)
        assert (clash.was, clash.theirs) == (seen, kept.phone)
        assert clash.mine != kept.phone
        assert kept.phone in tags
        assert clash.mine not in tags
        seen = kept.phone


def test_two_transactions_that_change_different_things_both_do(crm: Crm, bo: Principal, customer: Customer) -> None:
    ready = threading.Barrier(2)

    def write(by: Principal, field: str) -> None:
        ready.wait(30)
        with crm.database.write() as session:
            service.update(session, by, customer.id, {field: by.name}, seen={field: KEPT[field]}, add_tags=[field])

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, crm.principal, "phone"), pool.submit(write, bo, "company")]:
            done.result()
    kept, tags = _kept(crm.database, customer)
    assert (kept.phone, kept.company, tags) == ("Ida Holt", "Bo Ek", ["architect", "company", "phone", "sv"])
    assert sorted((by, *data["changes"]) for by, kind, data in _lines(crm.database) if kind == "changed") == [  # type: ignore[misc]
        ("Bo Ek", "company"),
        ("Ida Holt", "phone"),
    ]


def _rows(database: Database) -> tuple[int, int, list[str]]:
    with database.read() as session:
        notes = session.exec(select(CustomerEntry.text).where(CustomerEntry.kind == "note")).all()
        return len(session.exec(select(Customer)).all()), len(session.exec(select(Contact)).all()), sorted(notes)


def test_a_form_that_adds_something_adds_it_once(browser: TestClient, crm: Crm, customer: Customer) -> None:
    new = fields_of(browser.get("/customers/new").text, "/customers") | {"company": "Nursery"}
    wrong = browser.post("/customers", data=new | {"email": "nowhere"})
    assert fields_of(wrong.text, "/customers")["form"] == new["form"]
    assert len({browser.post("/customers", data=new).headers["Location"] for _ in range(3)}) == 1
    url = f"/customers/{customer.id}"
    person = fields_of(browser.get(f"{url}/contacts/new").text, f"{url}/contacts") | {"first_name": "Nils"}
    note = fields_of(browser.get(url).text, f"{url}/notes") | {"text": "Calls are best after 15:00."}
    for _ in range(2):
        assert browser.post(f"{url}/contacts", data=person).status_code == 303
        assert browser.post(f"{url}/notes", data=note).status_code == 303
    assert _rows(crm.database) == (2, 1, ["Calls are best after 15:00."])
    # who goes back in the browser and writes something else means one more
    browser.post("/customers", data=new | {"company": "Another"})
    browser.post(f"{url}/contacts", data=person | {"first_name": "Rut"})
    browser.post(f"{url}/notes", data=note | {"text": "Not on Fridays."})
    assert _rows(crm.database) == (3, 2, ["Calls are best after 15:00.", "Not on Fridays."])


@pytest.mark.parametrize(
    "form", ["", "x", "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"]
)
def test_an_id_that_is_not_ours_is_not_used(browser: TestClient, crm: Crm, form: str) -> None:
    for _ in range(2):
        assert browser.post("/customers", data={"company": "Nursery", "form": form}).status_code == 303
    with crm.database.read() as session:
        ids = session.exec(select(Customer.id)).all()
    assert len(ids) == 2
    assert form not in map(str, ids)


def test_the_same_form_at_the_same_moment(browser: TestClient, crm: Crm) -> None:
    new = fields_of(browser.get("/customers/new").text, "/customers") | {"company": "Nursery"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: browser.post("/customers", data=new), range(4)))
    assert {answer.status_code for answer in answers} == {303}
    assert _rows(crm.database)[0] == 1


def test_a_letter_is_sent_again_from_one_form_once(browser: TestClient, crm: Crm) -> None:
    message = crm.send("ada@example.com")
    settle(crm, message.id, **{"ada@example.com": "failed"})
    delivery = crm.delivery(message.id)
    retry = f"/messages/{message.id}/deliveries/{delivery.id}/retry"
    opened = f"/messages/{message.id}?open={delivery.id}"
    form = fields_of(browser.get(opened).text, retry) | {"address": "ada@new.example"}
    assert [browser.post(retry, data=form).status_code for _ in range(2)] == [303, 303]
    assert "Sent again already." in browser.get(opened).text
    assert crm.delivery(message.id).generation == delivery.generation + 1
    settle(crm, message.id, **{"ada@new.example": "failed"})
    late = browser.post(retry, data=form | {"address": "ada@example.com"})
    assert late.status_code == 303
    assert "Somebody has sent it again meanwhile, to ada@new.example." in browser.get(opened).text
    assert crm.delivery(message.id).address == "ada@new.example"


def test_of_two_who_change_a_password_the_second_has_to_know_the_first_ones(crm: Crm, monkeypatch: Any) -> None:
    """Both knew the old one; only one of the new ones is the password, and who chose it is told so."""
    ready = threading.Barrier(2)
    real = account.hash_password

    def hash_together(password: str) -> str:
        ready.wait(30)  # both have proved the old one
        return real(password)

    monkeypatch.setattr(account, "hash_password", hash_together)

    def change(new: str) -> bool:
        try:
            account.change_password(crm.database, crm.principal, PASSWORD, new, Visitor("127.0.0.1", "tests"))
        except Invalid as problem:
            return "changed elsewhere" not in problem.detail
        return True

    passwords = ["plums and apples", "pears and cherries"]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(change, passwords))
    assert sorted(done) == [False, True]
    with crm.database.read() as session:
        kept = session.get_one(User, crm.principal.user_id).password_hash
    assert check_password(passwords[done.index(True)], kept)[0]
