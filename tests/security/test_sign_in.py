"""Signing in and out with a browser."""

import re
import subprocess
import sys
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import select

from crm_api.auth.models import SignIn, SignInTries, User
from crm_api.auth.service import ABSOLUTE, IDLE, SEEN_EVERY, sign_out_everywhere
from crm_api.auth.throttle import PAIR, WINDOW
from crm_api.db import Database
from shared.clock import now
from tests.support.people import EMAIL, PASSWORD

RIGHT = {"email": EMAIL, "password": PASSWORD}


def _cookie(client: TestClient) -> str:
    (cookie,) = [value for name, value in client.cookies.items() if name == "posthaste-8000"]
    return cookie


def test_a_page_leads_to_the_sign_in_page_and_back(user: User, visitor: TestClient) -> None:
    answer = visitor.get("/help/keys?a=1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/help/keys%3Fa%3D1")
    page = visitor.get(answer.headers["Location"])
    assert page.status_code == 200
    wish = re.search(r'name="next" value="([^"]*)"', page.text)
    assert wish
    answer = visitor.post("/sign-in", data=RIGHT | {"next": wish[1]})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/help/keys?a=1")
    assert visitor.get("/help/keys").status_code == 200
    assert visitor.get("/sign-in").status_code == 303, "who is signed in needs no form"


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "/a\r\nX: y"])
def test_signing_in_never_leads_to_another_site(user: User, visitor: TestClient, elsewhere: str) -> None:
    answer = visitor.post("/sign-in", data=RIGHT | {"next": elsewhere})
    assert answer.headers["Location"] == "/"


def test_wrong_words_are_told_apart_by_nobody(user: User, visitor: TestClient) -> None:
    wrongs: list[dict[str, str]] = [
        {"password": "seeds"},
        {"email": "nobody@holt-trees.example"},
        {"password": ""},
        {"email": "\0"},
    ]
    for wrong in wrongs:
        answer = visitor.post("/sign-in", data=RIGHT | wrong)
        assert answer.status_code == 401
        assert "do not belong together" in answer.text
        assert not visitor.cookies
        assert PASSWORD not in answer.text


def test_the_email_may_be_typed_in_any_case(user: User, visitor: TestClient) -> None:
    assert visitor.post("/sign-in", data=RIGHT | {"email": f" {EMAIL.upper()} "}).status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(user: User, visitor: TestClient) -> None:
    header = visitor.post("/sign-in", data=RIGHT).headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=lax" in header
    assert "Path=/" in header
    assert "Secure" not in header


def test_with_https_the_cookie_is_bound_to_this_host(user: User, visitor: TestClient) -> None:
    visitor.base_url = "https://posthaste.example"
    header = visitor.post("/sign-in", data=RIGHT).headers["Set-Cookie"]
    assert header.startswith("__Host-")
    assert "Secure" in header
    assert "Domain" not in header
    assert visitor.get("/help/keys").status_code == 200


def test_only_a_hash_of_the_session_is_stored_and_signing_in_again_replaces_it(
    browser: TestClient, database: Database
) -> None:
    first = _cookie(browser)
    assert len(first) >= 43, "256 bits"
    browser.post("/sign-in", data=RIGHT)
    second = _cookie(browser)
    with database.read() as session:
        stored = session.exec(select(SignIn)).all()
    assert len(stored) == 1
    assert stored[0].token_hash not in (first, second)
    browser.cookies.clear()
    browser.cookies.set("posthaste-8000", first)
    assert browser.get("/help/keys").status_code == 303


def test_signing_out_ends_the_session_not_only_the_cookie(browser: TestClient) -> None:
    kept = _cookie(browser)
    assert browser.post("/sign-out").headers["Location"] == "/sign-in"
    assert "posthaste-8000" not in browser.cookies
    browser.cookies.set("posthaste-8000", kept)
    assert browser.get("/help/keys").status_code == 303


def test_all_sessions_of_a_person_can_be_ended(browser: TestClient, user: User, database: Database) -> None:
    with database.write() as session:
        sign_out_everywhere(session, user.id)
    assert browser.get("/help/keys").status_code == 303


@pytest.mark.parametrize(
    ("field", "age", "signed_in"),
    [
        ("seen_at", IDLE - timedelta(minutes=5), True),
        ("seen_at", IDLE + timedelta(minutes=5), False),
        ("created_at", ABSOLUTE - timedelta(minutes=5), True),
        ("created_at", ABSOLUTE + timedelta(minutes=5), False),
    ],
)
def test_a_session_ends_by_itself(
    browser: TestClient, database: Database, field: str, age: timedelta, signed_in: bool
) -> None:
    with database.write() as session:
        setattr(session.exec(select(SignIn)).one(), field, now() - age)
    assert browser.get("/help/keys").status_code == (200 if signed_in else 303)


def test_last_seen_is_written_now_and_then(browser: TestClient, database: Database) -> None:
    def seen() -> timedelta:
        with database.read() as session:
            return now() - session.exec(select(SignIn)).one().seen_at

    with database.write() as session:
        session.exec(select(SignIn)).one().seen_at = now() - SEEN_EVERY / 2
    browser.get("/help/keys")
    assert seen() > SEEN_EVERY / 3, "not on each request"
    with database.write() as session:
        session.exec(select(SignIn)).one().seen_at = now() - SEEN_EVERY * 2
    browser.get("/help/keys")
    assert seen() < SEEN_EVERY


def test_a_disabled_account_is_out_at_once(browser: TestClient, database: Database) -> None:
    with database.write() as session:
        session.exec(select(User)).one().disabled_at = now()
    assert browser.get("/help/keys").status_code == 303
    assert browser.post("/sign-in", data=RIGHT).status_code == 401


def test_a_hash_with_old_parameters_is_renewed_at_sign_in(visitor: TestClient, user: User, database: Database) -> None:
    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024),)).hash(PASSWORD)
    with database.write() as session:
        session.get_one(User, user.id).password_hash = weak
    assert visitor.post("/sign-in", data=RIGHT).status_code == 303
    with database.read() as session:
        renewed = session.get_one(User, user.id).password_hash
    assert renewed != weak
    assert renewed.startswith("$argon2id$")
    assert visitor.post("/sign-in", data=RIGHT).status_code == 303


def test_each_guess_costs_as_much_as_is_recommended() -> None:
    """In a process of its own: passwords of the tests are quick. RFC 9106, 4, second recommendation."""
    words = "from crm_api.auth.passwords import hash_password; print(hash_password('seeds and trees'))"
    made = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True, timeout=60).stdout
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_guessing_is_stopped_even_with_the_right_password(user: User, visitor: TestClient) -> None:
    for _ in range(PAIR):
        assert visitor.post("/sign-in", data=RIGHT | {"password": "guess"}).status_code == 401
    answer = visitor.post("/sign-in", data=RIGHT)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW.total_seconds()
    assert "Try again in 15 minutes" in answer.text
    # another account from the same address still gets in
    assert visitor.post("/sign-in", data={"email": "tom@holt-trees.example", "password": "x"}).status_code == 401


def test_a_wrong_try_is_forgiven_after_the_window_or_a_right_one(
    user: User, visitor: TestClient, database: Database
) -> None:
    for _ in range(PAIR):
        visitor.post("/sign-in", data=RIGHT | {"password": "guess"})
    with database.write() as session:
        for row in session.exec(select(SignInTries)):
            row.since -= WINDOW
    assert visitor.post("/sign-in", data=RIGHT).status_code == 303
    for _ in range(3):
        for _ in range(PAIR - 1):
            visitor.post("/sign-in", data=RIGHT | {"password": "guess"})
        assert visitor.post("/sign-in", data=RIGHT).status_code == 303


def test_a_spoofed_address_does_not_pass_the_throttle(user: User, visitor: TestClient) -> None:
    answers = [
        visitor.post(
            "/sign-in", data=RIGHT | {"password": "guess"}, headers={"X-Forwarded-For": f"203.0.113.{n}"}
        ).status_code
        for n in range(PAIR + 1)
    ]
    assert answers == [401] * PAIR + [429]
