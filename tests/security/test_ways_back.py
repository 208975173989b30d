"""Invitations, links for a new password, and the second factor: single use, short life, shown to nobody else."""

import re
from datetime import timedelta

import pyotp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import col, select

from crm_api.audit.models import AuditEntry
from crm_api.auth.access import topic_of
from crm_api.auth.models import NO_PASSWORD, OneTimeLink, SignIn, User
from crm_api.auth.service import Visitor, sign_in
from crm_api.auth.throttle import CODE, LINK
from crm_api.db import Database
from crm_api.messages import secret_fields
from crm_api.messages.models import Delivery, Message
from crm_api.outbox import store as outbox
from shared.clock import now
from shared.fields import NOT_SHOWN, Template
from shared.lanes import Lane
from tests.support.people import EMAIL, PASSWORD
from tests.support.statements import counted
from tests.support.waiting import wait_until

NEW = "plums and apples and pears"


def letters(database: Database) -> list[tuple[Message, Delivery]]:
    with database.read() as session:
        found = session.execute(select(Message, Delivery).join(Delivery).order_by(col(Message.id)))
        return [(message, delivery) for message, delivery in found]


def link_in(client: TestClient) -> str:
    """The newest letter's link, as the mail room would fill it in; its path only."""
    state = client.app.state  # type: ignore[attr-defined]
    message, delivery = letters(state.database)[-1]
    with state.database.read() as session:
        fields = secret_fields.opened(session, state.seal, {delivery.id: delivery.fields})[delivery.id]
    text = Template(message.text).fill(fields)
    found = re.search(r"http://127\.0\.0\.1:8000(/links/\S+)", text)
    assert found, text
    return found[1]


def invite(browser: TestClient, **typed: str) -> User:
    form = {"email": "tom@holt-trees.example", "name": "Tom Ek", "role": "agent"} | typed
    answer = browser.post("/users", data=form)
    assert answer.status_code == 303, answer.text
    with browser.app.state.database.read() as session:  # type: ignore[attr-defined]
        return session.exec(select(User).where(User.email == form["email"])).one()


def actions(database: Database, of: User) -> list[str]:
    with database.read() as session:
        rows = select(AuditEntry.action).where(AuditEntry.object_id == str(of.id))
        return list(session.exec(rows.order_by(col(AuditEntry.id))))


def test_an_invitation_from_the_click_to_signing_in(browser: TestClient, database: Database) -> None:
    tom = invite(browser)
    assert tom.password_hash == NO_PASSWORD
    message, delivery = letters(database)[-1]
    assert (message.lane, delivery.address) == ("urgent", "tom@holt-trees.example")
    with database.write() as session:
        (claimed,) = outbox.claim(session, Lane.urgent, now(), 10)
        letters_out = outbox.Letters(browser.app.state.seal)  # type: ignore[attr-defined]
        letters_out.load(session, [claimed])
    command = letters_out.command(claimed, Lane.urgent)
    assert command.fields["secret_link"].startswith("http://127.0.0.1:8000/links/"), "the mail room gets it whole"
    link = link_in(browser)
    browser.cookies.clear()
    for _ in range(2):
        assert "Welcome, Tom Ek" in browser.get(link).text, "looking at it, as mail programs do, uses nothing up"
    assert browser.post(link, data={"password": "too short"}).status_code == 422
    assert browser.post(link, data={"password": NEW}).headers["Location"] == "/sign-in"
    assert browser.get(link).status_code == browser.post(link, data={"password": NEW}).status_code == 404
    answer = browser.post("/sign-in", data={"email": tom.email, "password": NEW})
    assert answer.status_code == 303
    assert browser.get("/users").status_code == 403, "an agent"
    assert actions(database, tom) == ["user.added", "user.invited", "user.password_changed", "user.signed_in"]


def test_nobody_signs_in_to_an_invited_account(browser: TestClient) -> None:
    tom = invite(browser)
    browser.cookies.clear()
    for password in ("", NO_PASSWORD, "x"):
        assert browser.post("/sign-in", data={"email": tom.email, "password": password}).status_code == 401


def test_no_page_and_no_api_shows_the_link(browser: TestClient, database: Database) -> None:
    invite(browser)
    message, delivery = letters(database)[-1]
    token = link_in(browser).rpartition("/")[2]
    page = browser.get(f"/messages/{message.id}").text
    assert NOT_SHOWN in page
    for path in (
        f"/messages/{message.id}",
        f"/messages/new?from={message.id}",
        "/messages",
        "/audit",
        "/audit.csv",
        f"/api/v1/messages/{message.id}",
        f"/api/v1/deliveries/{delivery.id}",
        "/api/v1/audit",
    ):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert token not in answer.text, path
    with database.read() as session:
        stored = session.exec(select(OneTimeLink)).one()
    assert token not in str(stored.model_dump()), "only its hash"


def test_a_second_invitation_ends_the_first(browser: TestClient, database: Database) -> None:
    tom = invite(browser)
    first = link_in(browser)
    browser.post(f"/users/{tom.id}/invite")
    assert link_in(browser) != first
    assert browser.get(first).status_code == 404
    assert browser.get(link_in(browser)).status_code == 200


@pytest.mark.parametrize("typed", [{"email": "nobody"}, {"email": EMAIL}, {"name": " "}, {"role": "king"}])
def test_a_wrong_invitation_changes_nothing(browser: TestClient, database: Database, typed: dict[str, str]) -> None:
    form = {"email": "tom@holt-trees.example", "name": "Tom", "role": "agent"} | typed
    answer = browser.post("/users", data=form)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with database.read() as session:
        assert len(session.exec(select(User)).all()) == 1
    assert letters(database) == []


def test_a_forgotten_password(browser: TestClient, user: User, database: Database) -> None:
    """Also ends the session of whoever has the old one."""
    answer = browser.post("/sign-in/forgot", data={"email": f" {EMAIL.upper()}"})
    assert answer.status_code == 200
    link = link_in(browser)
    assert browser.get("/customers").status_code == 200
    assert browser.post(link, data={"password": NEW}).status_code == 303
    assert browser.get("/customers").status_code == 303, "signed out"
    assert browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 401
    assert browser.post("/sign-in", data={"email": EMAIL, "password": NEW}).status_code == 303


def test_asking_tells_nobody_who_has_an_account(visitor: TestClient, user: User, database: Database) -> None:
    known, unknown = (
        visitor.post("/sign-in/forgot", data={"email": email}).text for email in (EMAIL, "no@holt-trees.example")
    )
    assert known.replace(EMAIL, "") == unknown.replace("no@holt-trees.example", "")
    assert len(letters(database)) == 1


def test_asking_often_sends_few_letters(visitor: TestClient, user: User, database: Database) -> None:
    for number in range(LINK + 3):
        visitor.post("/sign-in/forgot", data={"email": EMAIL}, headers={"X-Forwarded-For": f"203.0.113.{number}"})
    assert len(letters(database)) == LINK


def test_a_disabled_account_gets_no_link_and_its_link_ends(visitor: TestClient, user: User, database: Database) -> None:
    visitor.post("/sign-in/forgot", data={"email": EMAIL})
    link = link_in(visitor)
    with database.write() as session:
        session.get_one(User, user.id).disabled_at = now()
    assert visitor.get(link).status_code == 404
    visitor.post("/sign-in/forgot", data={"email": EMAIL})
    assert len(letters(database)) == 1


def test_a_link_ends_by_itself(visitor: TestClient, user: User, database: Database) -> None:
    visitor.post("/sign-in/forgot", data={"email": EMAIL})
    with database.write() as session:
        session.exec(select(OneTimeLink)).one().expires_at = now() - timedelta(seconds=1)
    assert visitor.post(link_in(visitor), data={"password": NEW}).status_code == 404


def test_the_link_never_names_the_host_that_was_asked(visitor: TestClient, user: User, database: Database) -> None:
    visitor.post("/sign-in/forgot", data={"email": EMAIL}, headers={"Host": "evil.example"})
    assert "evil.example" not in str(letters(database)[-1][1].fields)


def enrol(browser: TestClient, database: Database) -> tuple[pyotp.TOTP, list[str]]:
    """Turns the second factor on; the app that makes its codes, and the recovery codes."""
    page = browser.get("/account/second-factor")
    shown = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page.text)
    assert shown
    app = pyotp.TOTP(shown[1].replace(" ", ""))
    assert browser.post("/account/second-factor", data={"code": "000000"}).status_code == 422
    page = browser.post("/account/second-factor", data={"code": app.now()})
    assert page.headers["Cache-Control"] == "no-store"
    return app, re.findall(r"<code>(\w{4}-\w{4}-\w{4}-\w{4})</code>", page.text)


def again(database: Database) -> None:
    """As if half a minute had passed since the last code."""
    with database.write() as session:
        session.exec(select(User)).one().totp_step -= 2


def first_step(browser: TestClient) -> str:
    """The token that goes with the code."""
    browser.cookies.clear()
    page = browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    assert page.status_code == 200
    assert not browser.cookies, "the password alone opens nothing"
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found
    return found[1]


def test_a_code_is_asked_for_and_taken_once(browser: TestClient, database: Database) -> None:
    app, codes = enrol(browser, database)
    assert len(set(codes)) == 10
    code = app.now()
    token = first_step(browser)
    assert browser.post("/sign-in/code", data={"token": token, "code": code}).status_code == 401, "used to enrol"
    again(database)
    assert browser.post("/sign-in/code", data={"token": token, "code": f"{code[:3]} {code[3:]}"}).status_code == 303
    assert browser.get("/customers").status_code == 200
    again(database)
    answer = browser.post("/sign-in/code", data={"token": token, "code": code})
    assert "Sign in once more" in answer.text, "the first step counts once, too"


def test_a_recovery_code_opens_once(browser: TestClient, database: Database) -> None:
    _, codes = enrol(browser, database)
    for typed, status in ((codes[0].upper(), 303), (codes[0], 401), (codes[1].replace("-", " "), 303)):
        answer = browser.post("/sign-in/code", data={"token": first_step(browser), "code": typed})
        assert answer.status_code == status
    assert "8 recovery codes left" in browser.get("/account").text


def test_codes_cannot_be_guessed(browser: TestClient, database: Database) -> None:
    app, _ = enrol(browser, database)
    again(database)
    answers = [
        browser.post("/sign-in/code", data={"token": first_step(browser), "code": "000000"}).status_code
        for _ in range(CODE + 1)
    ]
    assert answers == [401] * CODE + [429]
    assert browser.post("/sign-in/code", data={"token": first_step(browser), "code": app.now()}).status_code == 429


def test_turning_it_off_takes_the_password(browser: TestClient, database: Database) -> None:
    enrol(browser, database)
    assert browser.post("/account/second-factor/off", data={"password": "guess"}).status_code == 422
    assert browser.post("/account/second-factor/off", data={"password": PASSWORD}).status_code == 303
    browser.cookies.clear()
    assert browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 303


def test_a_new_password_ends_every_other_session(browser: TestClient, user: User, database: Database) -> None:
    old = browser.cookies["posthaste-8000"]
    with database.write() as session:
        session.add(SignIn(token_hash="another", user_id=user.id))
    for typed in ({"old": "wrong", "new": NEW}, {"old": PASSWORD, "new": "short"}, {"old": PASSWORD, "new": EMAIL}):
        assert browser.post("/account/password", data=typed).status_code == 422
    assert browser.post("/account/password", data={"old": PASSWORD, "new": NEW}).status_code == 303
    assert browser.cookies["posthaste-8000"] != old, "this browser's session is a new one"
    assert browser.get("/account").status_code == 200
    with database.read() as session:
        assert len(session.exec(select(SignIn)).all()) == 1
    browser.cookies.clear()
    browser.cookies.set("posthaste-8000", old)
    assert browser.get("/account").status_code == 303


def test_sessions_are_listed_and_ended_one_by_one(browser: TestClient, user: User, database: Database) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    with database.write() as session:
        session.add(SignIn(token_hash="a" * 64, user_id=user.id, browser=firefox, address="203.0.113.9"))
        session.add(User(email="x@holt-trees.example", name="X", role="agent", password_hash="x"))
        session.flush()
        other = session.exec(select(User.id).where(User.email == "x@holt-trees.example")).one()
        session.add(SignIn(token_hash="b" * 64, user_id=other))
    page = browser.get("/account").text
    assert "Firefox on Linux" in page
    assert "203.0.113.9" in page
    assert "a" * 64 not in page
    for handle, status in (("b" * 32, 404), ("%", 404), ("_" * 32, 404), ("a", 404), ("a" * 32, 303), ("a" * 32, 404)):
        assert browser.post(f"/account/sessions/{handle}/end").status_code == status, handle
    assert browser.get("/account").status_code == 200


def test_a_refusal_is_noted_and_takes_no_longer_for_an_account_that_there_is(
    visitor: TestClient, user: User, database: Database
) -> None:
    """The same statements before the answer; the entry comes after it, and only for a real account."""
    asked = []
    for email in (EMAIL, "nobody@holt-trees.example"):
        with counted(database) as statements:
            assert sign_in(database, email, "guess", Visitor("203.0.113.9")) is None
        asked.append(statements)
    assert len(asked[0]) == len(asked[1]) > 0
    assert actions(database, user) == []
    for email in (EMAIL, "nobody@holt-trees.example"):
        visitor.post("/sign-in", data={"email": email, "password": "guess"})
    with database.read() as session:
        (entry,) = session.exec(select(AuditEntry)).all()
    assert (entry.action, entry.actor, entry.actor_id) == ("user.refused", "somebody", None)
    assert (entry.object_id, entry.address, entry.data) == (str(user.id), "testclient", {"why": "password"})


def test_open_pages_stop_listening_when_a_session_ends(browser: TestClient, user: User, app: FastAPI) -> None:
    heard: list[None] = []
    app.state.feed.on(topic_of(user.id), lambda: heard.append(None))
    browser.post("/sign-out")
    wait_until(lambda: heard, "the streams of this user's pages are told")
