"""The pages, as forms without JavaScript use them."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.models import User
from crm_api.customers import service
from crm_api.customers.models import Contact, Customer, CustomerEntry
from crm_api.db import Database
from crm_api.messages.models import Delivery
from crm_api.settings import CrmSettings
from tests.support.crm import Crm, crm_of

NEW = {"first_name": "Marta", "last_name": "Lindqvist", "email": "marta@example.com", "tags": "architect, sv"}


@pytest.fixture
def crm(settings: CrmSettings, database: Database, user: User) -> Crm:
    return crm_of(settings, database, user)


def _add(browser: TestClient, **members: str) -> str:
    answer = browser.post("/customers", data=members or NEW)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def _words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html.split("<main")[1]).split()))


def test_an_empty_house_says_what_to_do(browser: TestClient) -> None:
    page = browser.get("/customers")
    assert "No customers yet" in page.text
    assert 'href="/customers/new"' in page.text
    assert "Nobody found" in browser.get("/customers?q=x").text
    assert "No letter needs a person" in browser.get("/customers?view=trouble").text


def test_a_customer_is_added_shown_and_changed(browser: TestClient) -> None:
    assert browser.get("/customers/new").status_code == 200
    url = _add(browser)
    page = browser.get(url)
    assert "Marta Lindqvist is added." in page.text
    assert 'data-topics="customer:' in page.text
    assert 'id="composer"' in page.text
    assert 'value="architect, sv"' in browser.get(f"{url}/edit").text
    answer = browser.post(f"{url}/edit", data=NEW | {"last_name": "Ek", "tags": "sv"})
    assert (answer.status_code, answer.headers["Location"]) == (303, url)
    said = _words(browser.get(url).text)
    assert "Last name: Lindqvist → Ek" in said
    assert "Tags removed: architect" in said
    assert "by Ida Holt" in said


def test_errors_stand_at_their_fields_and_nothing_typed_is_lost(browser: TestClient, database: Database) -> None:
    answer = browser.post("/customers", data=NEW | {"email": "marta at home", "tags": "x" * 60})
    assert answer.status_code == 422
    assert 'id="f-email-error"' in answer.text
    assert 'value="marta at home"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Lindqvist"' in answer.text
    url = _add(browser)
    answer = browser.post(f"{url}/edit", data=NEW | {"email": "no"})
    assert answer.status_code == 422
    assert 'value="no"' in answer.text
    with database.read() as session:
        assert [it.email for it in session.exec(select(Customer))] == ["marta@example.com"]


def test_notes_are_text_and_never_markup(browser: TestClient, database: Database) -> None:
    url = _add(browser)
    answer = browser.post(f"{url}/notes", data={"text": "<script>alert(1)</script>\nsecond"})
    assert answer.headers["Location"] == f"{url}#past"
    page = browser.get(url).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    empty = browser.post(f"{url}/notes", data={"text": " "})
    assert empty.status_code == 422
    assert "Write what is worth knowing next time." in empty.text
    with database.read() as session:
        assert len(session.exec(select(CustomerEntry).where(CustomerEntry.kind == "note")).all()) == 1


def test_people_at_a_customer(browser: TestClient, database: Database) -> None:
    url = _add(browser)
    assert browser.get(f"{url}/contacts/new").status_code == 200
    wrong = browser.post(f"{url}/contacts", data={"first_name": "Nils", "email": "nils"})
    assert wrong.status_code == 422
    assert 'value="nils"' in wrong.text
    assert browser.post(f"{url}/contacts", data={"first_name": "Nils", "email": "nils@example.com"}).status_code == 303
    with database.read() as session:
        contact = session.exec(select(Contact)).one()
    page = browser.get(url).text
    assert f"/messages/new?to=contact:{contact.id}" in page
    assert browser.get(f"{url}/contacts/{contact.id}").status_code == 200
    browser.post(f"{url}/contacts/{contact.id}", data={"first_name": "Niels", "email": "nils@example.com"})
    assert "Niels" in browser.get(url).text
    browser.post(f"{url}/contacts/{contact.id}", data={"do": "remove"})
    assert "Contact Niels removed" in _words(browser.get(url).text)


def test_archiving_asks_can_be_undone_and_takes_the_composer_away(browser: TestClient) -> None:
    url = _add(browser)
    assert "Archive Marta Lindqvist?" in _words(browser.get(f"{url}/archive").text)
    answer = browser.post(f"{url}/archive")
    assert answer.headers["Location"] == "/customers"
    page = browser.get("/customers")
    assert f'action="{url}/restore"' in page.text
    assert f'href="{url}"' not in page.text
    assert f'href="{url}"' in browser.get("/customers?view=archived").text
    assert 'id="composer"' not in browser.get(url).text
    undone = browser.post(f"{url}/restore", headers={"HX-Request": "true"})
    assert "back among the customers" in undone.text
    assert f'href="{url}"' in browser.get("/customers").text


def test_the_list_shows_the_last_letter_as_its_reader_got_it(browser: TestClient, crm: Crm) -> None:
    url = _add(browser)
    customer = url.rpartition("/")[2]
    crm.send(to=[{"customer_id": customer}], subject="An old one")
    message = crm.send(to=[{"customer_id": customer}], subject="Hello {{ first_name }}")
    page = browser.get("/customers").text
    assert "Hello Marta" in page
    assert "An old one" not in page
    assert f"/messages/{message.id}" in page
    said = _words(browser.get(url).text)
    assert "Hello Marta Pending to Marta Lindqvist" in said
    with crm.database.write() as session:
        delivery = session.get_one(Delivery, crm.delivery(message.id).id)
        delivery.state, delivery.reason = "failed", "There is no such mailbox."
    said = _words(browser.get("/customers?view=trouble").text)
    assert "One of them has a letter that needs a person." in said
    assert "Hello Marta" in said
    assert "Failed There is no such mailbox." in _words(browser.get(url).text)


def test_fragments_are_the_partials_of_the_page(browser: TestClient) -> None:
    url = _add(browser)
    for path, part in (("/customers", "list"), ("/customers", "head"), (url, "facts"), (url, "past")):
        whole = browser.get(path).text
        headers = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": f"div#{part}"}
        fragment = browser.get(path, headers=headers).text
        assert fragment.lstrip().startswith(("<div", "<section"))
        assert f'id="{part}"' in fragment
        assert " ".join(fragment.split()) in " ".join(whole.split())


def test_filters_stay_while_paging_and_sorting(browser: TestClient, database: Database, crm: Crm) -> None:
    for number in range(60):
        with database.write() as session:
            service.create(session, crm.principal, {"company": f"Nursery {number:03}"}, ["nursery"])
    page = browser.get("/customers?tag=nursery&q=nurs&sort=company").text
    assert "50 of 60, by company" in page
    following = re.search(r'href="([^"]*)" rel="next"', page)
    assert following
    second = browser.get(unescape(following[1])).text
    assert "10 of 60, by company" in second
    assert "tag=nursery" in unescape(following[1])
    assert "Nursery 059" in second
    assert "To the start" in second


def test_suggestions_for_the_composer(browser: TestClient, crm: Crm, database: Database) -> None:
    url = _add(browser, **NEW | {"company": "Lindqvist <Trädgård>"})
    browser.post(f"{url}/contacts", data={"first_name": "Nils", "role": "Planting", "email": "nils@example.com"})
    browser.post("/customers", data={"first_name": "Martin", "phone": "1"})
    for q in ("mart", "lindq", "tradg"):
        html = browser.get("/customers/suggest", params={"q": q}).text
        assert f'data-value="customer:{url.rpartition("/")[2]}"' in html, q
        assert "Lindqvist &lt;Trädgård&gt;" in html
        assert "Martin" not in html, "nobody can be written to without an address"
    html = browser.get("/customers/suggest", params={"q": "nils"}).text
    assert 'data-value="contact:' in html
    assert browser.get("/customers/suggest", params={"q": " "}).text.strip() == ""
    browser.post(f"{url}/archive")
    assert browser.get("/customers/suggest", params={"q": "mart"}).text.strip() == ""


def test_strange_parameters_do_no_harm(browser: TestClient) -> None:
    url = _add(browser)
    for path in ("/customers?view=x&sort=y", "/customers?q=%00", f"{url}?kind=x", "/customers?tag=%00"):
        assert browser.get(path).status_code == 200, path
    for path in ("/customers?cursor=x", f"{url}?cursor=x", "/customers/x"):
        assert browser.get(path).status_code == 422, path
    assert browser.get("/customers/00000000-0000-7000-8000-000000000000").status_code == 404
