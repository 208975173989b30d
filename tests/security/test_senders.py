"""Nobody writes as somebody whom an admin has not allowed: over the API, the page, for later, and once more."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from crm_api.app import create_app
from crm_api.auth.roles import Role
from crm_api.db import Database
from crm_api.messages.models import Delivery, Message
from crm_api.senders import allowed
from crm_api.settings import CrmSettings
from shared.clock import now
from tests.security.conftest import Somebody
from tests.support.statements import counted
from tests.support.waiting import wait_until

OWN = "crm@posthaste.example"
OFFERED = re.compile(r'<option value="([^"]*@[^"]*)"')


def draft(address: str | None, **members: Any) -> dict[str, Any]:
    sender = {"sender": {"address": address, "name": "Ida"}} if address else {}
    return {"to": [{"email": "ada@example.com"}], "subject": "x", "text": "x"} | sender | members


@pytest.fixture
def agent(everybody: dict[Role, Somebody]) -> dict[str, str]:
    return everybody[Role.agent].with_key


@pytest.fixture
def admin(everybody: dict[Role, Somebody]) -> dict[str, str]:
    return everybody[Role.admin].with_key


def allow(client: TestClient, admin: dict[str, str], sender: str, **members: str) -> str:
    answer = client.post("/api/v1/senders", json={"sender": sender} | members, headers=admin)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def status(client: TestClient, headers: dict[str, str], address: str | None, **members: Any) -> int:
    return client.post("/api/v1/messages", json=draft(address, **members), headers=headers).status_code


FORGED = [
    "ceo@bank.example",
    "crm@posthaste.example.evil.example",
    "crm@sub.posthaste.example",
    "crm@xposthaste.example",
    "crm@posthaste.exampl\u0435",  # a Cyrillic letter at its end
]


def test_by_default_the_domain_of_the_settings_sender(
    client: TestClient, agent: dict[str, str], admin: dict[str, str]
) -> None:
    for address in (None, OWN, "CRM@Posthaste.EXAMPLE", "ida@posthaste.example", "Ida.Holt+x@POSTHASTE.example"):
        assert status(client, agent, address) == 202, address
    for address in FORGED:
        for headers in (agent, admin):
            answer = client.post("/api/v1/messages", json=draft(address), headers=headers)
            assert answer.status_code == 422, address
            (error,) = answer.json()["errors"]
            assert error["field"] == "sender.address"
            assert "An admin can allow others" in error["message"]
            assert OWN in error["message"]


def test_every_way_in(
    client: TestClient, everybody: dict[Role, Somebody], agent: dict[str, str], database: Database
) -> None:
    """The fast path and the route, for later, from the page; nothing is stored."""
    forged = draft("ceo@bank.example")
    slow = agent | {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/api/v1/messages", json=forged, headers=agent).status_code == 422
    assert client.post("/api/v1/messages", json=forged, headers=slow).status_code == 422
    assert status(client, agent, "ceo@bank.example", send_at="2026-12-24T08:00:00Z") == 422
    assert status(client, agent, "ceo@bank.example", lane="bulk", undo_seconds=60) == 422
    form = {"to": "email:ada@example.com", "subject": "x", "markdown": "x", "sender": "ceo@bank.example"}
    for do in ("send", "send-later"):
        later = {"do": do, "send_at": "2026-12-24T08:00"}
        page = client.post("/messages", data=form | later, headers=everybody[Role.agent].with_cookie)
        assert page.status_code == 422
        assert "Nobody may write as ceo@bank.example" in page.text
    with database.read() as session:
        assert list(session.exec(select(Message))) == []


@pytest.mark.parametrize(
    ("listed", "fits", "fits_not"),
    [
        ("support@bank.example", ["support@bank.example", "SUPPORT@Bank.Example"], ["ceo@bank.example"]),
        ("bank.example", ["a@bank.example", "b@BANK.example"], ["a@x.bank.example", "a@xbank.example"]),
        ("@Bank.Example", ["a@bank.example"], ["a@x.bank.example"]),
        ("*.bank.example", ["a@x.bank.example", "a@y.x.bank.example"], ["a@bank.example", "a@xbank.example"]),
        ("bücher.example", ["a@bücher.example", "a@xn--bcher-kva.example", "a@BÜCHER.example"], ["a@bucher.example"]),
        ("xn--bcher-kva.example", ["a@bu\u0308cher.example"], ["a@xn--bcher-kvb.example"]),
        ("j.oerg@bank.example", ["J.OERG@bank.example", "j.oerg@BANK.example"], ["jorg@bank.example"]),
    ],
)
def test_what_is_listed(
    client: TestClient,
    agent: dict[str, str],
    admin: dict[str, str],
    listed: str,
    fits: list[str],
    fits_not: list[str],
) -> None:
    for address in fits:
        assert status(client, agent, address) == 422, address
    allow(client, admin, listed)
    for address in fits:
        assert status(client, agent, address) == 202, address
    for address in fits_not:
        assert status(client, agent, address) == 422, address
    assert status(client, agent, "ida@posthaste.example") == 202, "to add takes nothing away"


def test_a_list_may_leave_the_domain_out(client: TestClient, agent: dict[str, str], admin: dict[str, str]) -> None:
    allow(client, admin, "support@posthaste.example", name="Support")
    listed = client.get("/api/v1/senders", headers=agent).json()
    assert listed["default"] == OWN
    domain = next(each for each in listed["items"] if each["sender"] == "@posthaste.example")
    assert client.delete(f"/api/v1/senders/{domain['id']}", headers=admin).status_code == 204
    assert status(client, agent, "ceo@posthaste.example") == 422
    assert [status(client, agent, address) for address in (None, OWN, "support@posthaste.example")] == [202] * 3
    assert client.delete(f"/api/v1/senders/{domain['id']}", headers=admin).status_code == 404


def test_removed_later_what_waits_goes_but_nothing_new(
    client: TestClient, agent: dict[str, str], admin: dict[str, str], database: Database
) -> None:
    listed = allow(client, admin, "support@bank.example")
    made = client.post("/api/v1/messages", json=draft("support@bank.example"), headers=agent).json()
    client.delete(f"/api/v1/senders/{listed}", headers=admin)
    assert status(client, agent, "support@bank.example") == 422
    with database.write() as session:
        delivery = session.exec(select(Delivery)).one()
        assert delivery.state == "pending", "it waits as before"
        message = session.exec(select(Message)).one()
        assert message.sender_address == "support@bank.example"
        delivery.state, message.state, delivery.done_at = "failed", "failed", now()
        message.pending, message.failed = 0, 1
    retry = f"/api/v1/deliveries/{made['deliveries'][0]['id']}/retry"
    answer = client.post(retry, headers=agent)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "sender.address")
    allow(client, admin, "support@bank.example")
    assert client.post(retry, headers=agent).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "ceo@bank.example",
        "CEO <ceo@bank.example>",
        "ceo\uff20bank.example",
        "ceo@bank\u200b.example",
        "\u2066ceo@\uff42ank.example\u2069",
        "crm@posthaste.example via ceo@bank.example",
    ],
)
def test_a_name_that_is_somebody_elses_address(
    client: TestClient, agent: dict[str, str], admin: dict[str, str], name: str, database: Database
) -> None:
    for sender in ({"address": OWN, "name": name}, {"address": f'"{name}" <{OWN}>'}):
        answer = client.post("/api/v1/messages", json=draft(None, sender=sender), headers=agent)
        assert answer.status_code == 422, sender
        assert [error["field"] for error in answer.json()["errors"]] == ["sender.name"]
    allow(client, admin, "ceo@bank.example", name=name)
    assert status(client, agent, None, sender={"address": OWN, "name": name}) == 202
    listed = client.get("/api/v1/senders", headers=agent).json()["items"]
    (made,) = (one["id"] for one in listed if one["sender"] == "ceo@bank.example")
    client.delete(f"/api/v1/senders/{made}", headers=admin)
    with database.write() as session:
        delivery = session.exec(select(Delivery)).one()
        message = session.exec(select(Message)).one()
        delivery.state, message.state, delivery.done_at = "failed", "failed", now()
        message.pending, message.failed = 0, 1
    answer = client.post(f"/api/v1/deliveries/{delivery.id}/retry", headers=agent)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "sender.name")


@pytest.mark.parametrize(
    "name", ["Ida @ Holt Trees", "Team@Work", "crm@posthaste.example", "Ida (ida@POSTHASTE.example)"]
)
def test_a_name_that_is_none(client: TestClient, agent: dict[str, str], name: str) -> None:
    assert status(client, agent, None, sender={"address": OWN, "name": name}) == 202


def test_reply_to_is_free(client: TestClient, agent: dict[str, str]) -> None:
    assert status(client, agent, None, reply_to="ceo@bank.example") == 202


@pytest.mark.parametrize(
    "wrong", ["", "@", "x", "*.", "*", "@*", "a b@c.example", "a@*.example", "ba nk.example", "-", "jörg@bank.example"]
)
def test_what_is_no_sender(client: TestClient, admin: dict[str, str], wrong: str) -> None:
    answer = client.post("/api/v1/senders", json={"sender": wrong}, headers=admin)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "sender"), answer.text


def test_the_same_twice(client: TestClient, admin: dict[str, str]) -> None:
    allow(client, admin, "bücher.example")
    for again in ("@XN--BCHER-KVA.example", "Bücher.example"):
        assert client.post("/api/v1/senders", json={"sender": again}, headers=admin).status_code == 422


def test_only_admins_say_who(client: TestClient, everybody: dict[Role, Somebody]) -> None:
    for role, person in everybody.items():
        answer = client.post("/api/v1/senders", json={"sender": "bank.example"}, headers=person.with_key)
        assert answer.status_code == (201 if role == Role.admin else 403)
        page = client.get("/senders", headers=person.with_cookie)
        assert page.status_code == (200 if role == Role.admin else 403)


def test_the_composer_offers_them(client: TestClient, everybody: dict[Role, Somebody], admin: dict[str, str]) -> None:
    person = everybody[Role.agent].with_cookie
    assert '<select id="sender"' not in client.get("/messages/new", headers=person).text
    allow(client, admin, "support@bank.example", name="Support")
    allow(client, admin, "holt-trees.example")
    page = client.get("/messages/new", headers=person).text
    assert '<option value="support@bank.example">Support, support@bank.example</option>' in page
    assert '<option value="agent@holt-trees.example">agent, agent@holt-trees.example</option>' in page
    offered = OFFERED.findall(page)
    assert len(offered) == 3
    form = {"to": "email:ada@example.com", "subject": "x", "markdown": "x", "sender": "support@bank.example"}
    page = client.post("/messages/compose", data=form | {"do": "show"}, headers=person).text
    assert '<option value="support@bank.example" selected>' in page
    assert OFFERED.findall(page) == offered, "in the same order, whichever was chosen"
    sent = client.post("/messages", data=form, headers=person)
    assert sent.status_code == 303
    shown = client.get(f"/api/v1{sent.headers['Location']}", headers=admin).json()
    assert (shown["sender_name"], shown["sender_address"]) == ("Support", "support@bank.example")
    again = client.get(f"/messages/new?from={shown['id']}", headers=person).text
    assert '<option value="support@bank.example" selected>' in again


def test_it_costs_no_statement(client: TestClient, app: FastAPI, agent: dict[str, str], admin: dict[str, str]) -> None:
    allow(client, admin, "support@bank.example")

    def cost(address: str | None) -> int:
        with counted(app.state.database) as statements:
            assert status(client, agent, address) == 202
        return len(statements)

    # the feed tells of the list's change a moment after it
    wait_until(lambda: cost("support@bank.example") == cost(OWN) == cost(None), "the list is known")


def test_in_another_process_too(
    client: TestClient,
    settings: CrmSettings,
    agent: dict[str, str],
    admin: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that hears of it by the change feed only."""
    listed = allow(client, admin, "support@bank.example")
    with TestClient(create_app(settings)) as elsewhere:
        assert status(elsewhere, agent, "support@bank.example") == 202
        heard = allowed._version
        with monkeypatch.context() as deaf:  # this process does not know that it was here
            deaf.setattr("crm_api.senders.allowed.event.listen", lambda *_, **__: None)
            client.delete(f"/api/v1/senders/{listed}", headers=admin)
        wait_until(lambda: allowed._version > heard, "the feed tells of the change")
        assert status(elsewhere, agent, "support@bank.example") == 422


def test_a_process_that_hears_nothing_looks_again_by_itself(
    database: Database, settings: CrmSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fits(session: Session) -> bool:
        return allowed.is_allowed(session, settings, "support@bank.example")

    with database.read() as session:
        assert not fits(session)
    with database.write() as session:
        session.add(allowed.AllowedSender(key="support@bank.example", written="support@bank.example"))
    with database.read() as session:
        assert not fits(session), "nobody has told"
        clock = allowed.time.monotonic()
        monkeypatch.setattr(allowed.time, "monotonic", lambda: clock + allowed.KNOWN_SECONDS + 1)
        assert fits(session)
