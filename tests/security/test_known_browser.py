"""Everybody behind one proxy has one address: whoever guesses there shuts nobody out who has been here before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth import known_browser, throttle
from crm_api.auth.models import User
from crm_api.auth.passwords import hash_password
from crm_api.auth.sealing import Seal
from crm_api.db import Database
from tests.security.conftest import COOKIE

PASSWORD = "seven saplings in a row"
IDA, JON = "ida@holt-trees.example", "jon@holt-trees.example"


@pytest.fixture
def people(database: Database) -> None:
    with database.write() as session:
        for email in (IDA, JON):
            session.add(User(email=email, name=email, role="agent", password_hash=hash_password(PASSWORD)))


Browser = Callable[[], TestClient]


@pytest.fixture
def browser(app: FastAPI) -> Iterator[Browser]:
    """Each with cookies of its own, and all at one address."""
    made: list[TestClient] = []

    def open_one() -> TestClient:
        made.append(TestClient(app, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False))
        return made[-1]

    with TestClient(app):  # the application lives as long as this one
        yield open_one
    for client in made:
        client.close()


def sign_in(client: TestClient, email: str, password: str = PASSWORD) -> int:
    return client.post("/sign-in", data={"email": email, "password": password}).status_code


def was_here(browser: Browser, *emails: str) -> TestClient:
    client = browser()
    for email in emails:
        assert sign_in(client, email) == 303
        client.post("/sign-out")
    return client


def use_up_the_address(browser: Browser) -> None:
    attacker = browser()
    for number in range(throttle.ADDRESS + 1):
        sign_in(attacker, f"nobody-{number}@example.com", "guess")
    assert sign_in(attacker, "nobody-0@example.com", "guess") == 429


def use_up_the_account(database: Database, email: str) -> None:
    with database.write() as session:
        for number in range(throttle.ACCOUNT + 1):
            throttle.count_try(session, email, f"203.0.113.{number}")


@pytest.mark.usefixtures("people")
def test_a_known_browser_gets_in_though_its_address_is_used_up(browser: Browser) -> None:
    mine = was_here(browser, IDA)
    use_up_the_address(browser)
    assert sign_in(browser(), IDA) == 429, "a browser that nobody knows waits"
    assert sign_in(mine, IDA) == 303


@pytest.mark.usefixtures("people")
def test_though_everybody_guesses_at_the_account(browser: Browser, database: Database) -> None:
    mine = was_here(browser, IDA)
    use_up_the_account(database, IDA)
    assert sign_in(browser(), IDA) == 429
    assert sign_in(mine, IDA) == 303


@pytest.mark.usefixtures("people")
def test_it_is_known_for_those_who_were_here(browser: Browser) -> None:
    """Two share it; for a third person's account it is a browser like any other."""
    ours = was_here(browser, IDA, JON)
    mine = was_here(browser, JON)
    use_up_the_address(browser)
    assert sign_in(ours, IDA) == 303
    assert sign_in(ours, JON) == 303
    assert sign_in(mine, IDA) == 429


@pytest.mark.usefixtures("people")
def test_who_steals_it_gets_its_few_tries_and_no_more(browser: Browser) -> None:
    mine = was_here(browser, IDA)
    tried = [sign_in(mine, IDA, "guess") for _ in range(throttle.PAIR + 2)]
    assert tried == [401] * throttle.PAIR + [429] * 2
    assert sign_in(mine, IDA) == 429, "not even with the right one"
    assert sign_in(browser(), IDA) == 303, "the others are not shut out by it"


@pytest.mark.usefixtures("people")
def test_who_gets_in_starts_again(browser: Browser) -> None:
    mine = was_here(browser, IDA)
    for _ in range(2):
        assert [sign_in(mine, IDA, "guess") for _ in range(throttle.PAIR - 1)] == [401] * (throttle.PAIR - 1)
        assert sign_in(mine, IDA) == 303
        mine.post("/sign-out")


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("forged", ["{}", "gAAAAA", "x" * 5000, '{"id":"1","people":[]}'])
def test_one_that_is_none_is_a_browser_like_any_other(browser: Browser, forged: str) -> None:
    use_up_the_address(browser)
    client = browser()
    client.cookies.set(f"{COOKIE}-browser", forged)
    assert sign_in(client, IDA) == 429


def test_what_was_sealed_for_something_else_is_none_and_it_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seal = Seal(["k" * 40])
    user = User(email=IDA, name="Ida", password_hash="x")
    cookie = known_browser.sealed(seal, None, user.id)
    known = known_browser.read(seal, cookie)
    assert known is not None
    assert known.place_of(user.id)
    assert known.place_of(None) is None
    assert known_browser.read(Seal(["other" * 10]), cookie) is None
    assert known_browser.read(seal, seal.close('{"id": "1", "people": []}', "something else")) is None
    monkeypatch.setattr(known_browser, "LIFE", timedelta(seconds=-1))
    assert known_browser.read(seal, cookie) is None


def test_of_many_who_share_one_the_last_are_known() -> None:
    seal, cookie = Seal(["k" * 40]), None
    users = [User(email=f"{number}@example.com", name="x", password_hash="x") for number in range(6)]
    for user in users:
        cookie = known_browser.sealed(seal, known_browser.read(seal, cookie), user.id)
    known = known_browser.read(seal, cookie)
    assert known is not None
    assert [known.place_of(user.id) is not None for user in users] == [False] * 2 + [True] * known_browser.MAX_PEOPLE
    assert cookie is not None
    assert len(cookie) < 1000


@pytest.mark.usefixtures("people")
def test_a_new_password_can_be_asked_for_from_it(browser: Browser, app: FastAPI, database: Database) -> None:
    mine = was_here(browser, IDA)
    with database.write() as session:
        for number in range(throttle.LINKS + 1):
            throttle.count_link(session, f"nobody-{number}@example.com", "testclient")
        user = session.exec(select(User).where(User.email == IDA)).one()
        known = known_browser.read(app.state.seal, mine.cookies[f"{COOKIE}-browser"])
        assert known is not None
        assert throttle.count_link(session, IDA, "testclient") is not None
        assert throttle.count_link(session, IDA, "testclient", known.place_of(user.id)) is None


@pytest.mark.usefixtures("people")
def test_who_is_signed_in_can_say_their_password_again(browser: Browser) -> None:
    mine = browser()
    assert sign_in(mine, IDA) == 303
    use_up_the_address(browser)
    form = {"old": PASSWORD, "new": "eight saplings in a row"}
    answer = mine.post("/account/password", data=form)
    assert answer.status_code == 303, answer.text
