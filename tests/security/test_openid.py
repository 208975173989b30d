"""Signing in with OpenID Connect, at a real provider that is not ours (django-oauth-toolkit), on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlmodel import col, select

from crm_api.app import create_app
from crm_api.audit.models import AuditEntry
from crm_api.auth import second_factor
from crm_api.auth.models import ELSEWHERE, NO_PASSWORD, OneTimeLink, SignIn, SignInTries, User
from crm_api.auth.roles import Role
from crm_api.auth.throttle import ADDRESS
from crm_api.db import Database
from crm_api.messages.models import Delivery
from crm_api.openid.models import OpenIdLink
from crm_api.openid.pages import TRIP_SECONDS
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.settings import SettingsError, load
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, OpenIdSite, sign_in_there
from tests.support.people import EMAIL, PASSWORD
from tests.support.ports import free_port

START, BACK = "/sign-in/openid", "http://127.0.0.1:8000/sign-in/openid/back"
TRIP = "posthaste-8000-openid"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdSite]:
    site = OpenIdSite(tmp_path_factory.mktemp("openid"), BACK)
    yield site
    site.stop()


def given(site: OpenIdSite, settings: dict[str, Any]) -> CrmSettings:
    return CrmSettings(
        **{
            "openid_issuer": site.issuer,
            "openid_client_id": CLIENT_ID,
            "openid_client_secret": CLIENT_SECRET,
            "openid_label": "Elm Street ID",
        }
        | settings
    )


@pytest.fixture
def settings(database_url: str, tmp_path: Path, site: OpenIdSite, request: pytest.FixtureRequest) -> CrmSettings:
    """A test may change some: @pytest.mark.parametrize("settings", [{…}], indirect=True)."""
    return given(site, {"data_dir": tmp_path, "database_url": database_url} | getattr(request, "param", {}))


def come(client: TestClient, name: str = "ida", next_page: str = "/messages?q=x") -> Any:
    """Through the provider's forms and back."""
    there = client.get(START, params={"next": next_page})
    assert there.status_code == 303, there.text
    return client.get(back(sign_in_there(there.headers["Location"], name, BACK)))


def back(url: str) -> str:
    """The same at the host that the test's browser knows."""
    assert url.startswith(BACK)
    return url.removeprefix("http://127.0.0.1:8000")


def entries(database: Database, action: str) -> list[AuditEntry]:
    with database.read() as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == action).order_by(col(AuditEntry.id))))


def signed_in(client: TestClient) -> bool:
    return client.get("/account").status_code == 200


def test_the_first_time_links_and_the_second_knows(visitor: TestClient, user: User, database: Database) -> None:
    page = visitor.get("/sign-in?next=/messages")
    (href,) = re.findall(r'href="(/sign-in/openid[^"]*)"[^>]*>.*?Sign in with Elm Street ID', page.text, re.DOTALL)
    assert href == f"{START}?next=%2Fmessages"
    for times in (1, 2):
        answer = come(visitor)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/messages?q=x")
        assert signed_in(visitor)
        assert "Linked" in visitor.get("/account").text
        with database.read() as session:
            link = session.exec(select(OpenIdLink)).one()
            assert link.user_id == user.id
        assert len(entries(database, "user.openid_linked")) == 1
        last = entries(database, "user.signed_in")[-1]
        assert (last.actor, last.data) == ("Ida Holt", {"with": "OpenID Connect"})
        assert len(entries(database, "user.signed_in")) == times
        visitor.post("/sign-out")


def test_the_way_there_says_what_it_should(visitor: TestClient, site: OpenIdSite, user: User) -> None:
    answer = visitor.get(START)
    url = urlsplit(answer.headers["Location"])
    asked = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{site.issuer}/authorize/"
    assert asked["redirect_uri"] == BACK
    assert (asked["response_type"], asked["scope"]) == ("code", "openid email profile")
    assert (asked["client_id"], asked["code_challenge_method"]) == (CLIENT_ID, "S256")
    assert all(len(asked[name]) == 43 for name in ("state", "nonce", "code_challenge")), "256 bits each"
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = answer.headers["Set-Cookie"]
    assert all(words in cookie for words in ("HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={TRIP_SECONDS}"))
    assert all(asked[name] not in cookie for name in ("state", "nonce")), "sealed"


def test_a_session_that_was_there_ends(visitor: TestClient, user: User, database: Database) -> None:
    there = visitor.get(START).headers["Location"]
    visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    before = visitor.cookies["posthaste-8000"]
    assert visitor.get(back(sign_in_there(there, "ida", BACK))).status_code == 303
    assert visitor.cookies["posthaste-8000"] != before
    assert TRIP not in visitor.cookies
    with database.read() as session:
        assert len(session.exec(select(SignIn)).all()) == 1


def test_with_https_both_cookies_are_bound_to_this_host(visitor: TestClient, user: User) -> None:
    visitor.base_url = "https://posthaste.example"
    there = visitor.get(START)
    here = visitor.get(back(sign_in_there(there.headers["Location"], "ida", BACK)))
    for name, header in (("-openid", there.headers["Set-Cookie"]), ("", here.headers.get_list("Set-Cookie")[0])):
        assert header.startswith(f"__Host-posthaste-8000{name}=")
        assert "Secure" in header
        assert "Path=/" in header
        assert "Domain" not in header


@pytest.mark.parametrize("settings", [{"public_url": "https://crm.example.com"}], indirect=True)
def test_so_they_are_behind_a_proxy_that_is_not_believed(visitor: TestClient, user: User) -> None:
    assert visitor.get(START).headers["Set-Cookie"].startswith("__Host-posthaste-8000-openid=")
    header = visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).headers["Set-Cookie"]
    assert header.startswith("__Host-posthaste-8000=")
    assert "Secure" in header


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "/a\r\nX: y"])
def test_it_never_leads_to_another_site(visitor: TestClient, user: User, elsewhere: str) -> None:
    assert come(visitor, next_page=elsewhere).headers["Location"] == "/"


@pytest.mark.parametrize("length", [330, 4000])
def test_a_long_address_to_go_on_to_fits_into_the_cookie(visitor: TestClient, user: User, length: int) -> None:
    long = "/search?q=" + "林" * length
    answer = visitor.get(START, params={"next": long})
    assert len(answer.headers["Set-Cookie"].encode()) < 4096
    answer = visitor.get(back(sign_in_there(answer.headers["Location"], "ida", BACK)))
    assert unquote(answer.headers["Location"]) == (long if length < 4000 else "/")


def test_another_site_cannot_begin_it(visitor: TestClient, user: User) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = visitor.get(f"{START}?next=/messages", headers=headers)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=%2Fmessages")
        assert not visitor.cookies


def test_a_state_is_good_once_and_in_its_own_browser(visitor: TestClient, user: User, app: FastAPI) -> None:
    there = visitor.get(START).headers["Location"]
    url = back(sign_in_there(there, "ida", BACK))
    trip = visitor.cookies[TRIP]
    other = TestClient(app, base_url="http://posthaste.example", follow_redirects=False)
    for cookies in ({}, {TRIP: trip[:-8] + "AAAAAAA="}):
        other.cookies.update(cookies)
        refused = other.get(url)
        assert (refused.status_code, signed_in(other)) == (401, False)
        assert "began in another browser" in refused.text
    other.get(START)  # a state of its own, and somebody else's code: nobody is signed in as another
    assert other.get(url).status_code == 401
    wrong = visitor.get(url.replace("state=", "state=x"))
    assert (wrong.status_code, TRIP in visitor.cookies) == (401, False)
    visitor.cookies.set(TRIP, trip)
    assert visitor.get(url).status_code == 303, "it was not used up by who had it not"
    visitor.post("/sign-out")
    assert visitor.get(url).status_code == 401
    visitor.cookies.set(TRIP, trip)
    assert "used already" in visitor.get(url).text
    assert not signed_in(visitor)


def test_a_code_is_good_once(visitor: TestClient, user: User) -> None:
    """And another way there does not help it: the verifier is another."""
    first = back(sign_in_there(visitor.get(START).headers["Location"], "ida", BACK))
    code = parse_qs(urlsplit(first).query)["code"][0]
    for _ in range(2):
        state = parse_qs(urlsplit(visitor.get(START).headers["Location"]).query)["state"][0]
        refused = visitor.get("/sign-in/openid/back", params={"code": code, "state": state})
        assert (refused.status_code, signed_in(visitor)) == (401, False)
        assert "did not understand each other" in refused.text


def test_a_state_that_took_too_long(visitor: TestClient, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    url = back(sign_in_there(visitor.get(START).headers["Location"], "ida", BACK))
    monkeypatch.setattr("crm_api.openid.pages.TRIP_SECONDS", -1)
    assert "took too long" in visitor.get(url).text
    assert not signed_in(visitor)


def test_who_says_no_there_comes_back_and_may_try_again(visitor: TestClient, user: User) -> None:
    state = parse_qs(urlsplit(visitor.get(START).headers["Location"]).query)["state"][0]
    answer = visitor.get("/sign-in/openid/back", params={"error": "access_denied<b>", "state": state})
    assert (answer.status_code, "Elm Street ID did not let you through." in answer.text) == (401, True)
    assert "access_denied" not in answer.text
    assert come(visitor).status_code == 303


def test_an_address_that_is_not_verified(visitor: TestClient, user: User, database: Database) -> None:
    answer = come(visitor, "eve")
    assert (answer.status_code, signed_in(visitor)) == (403, False)
    assert "has not verified your address" in answer.text
    (entry,) = entries(database, "user.refused")
    assert (entry.object_name, entry.data) == (EMAIL, {"why": "address not verified"})
    with database.read() as session:
        assert session.exec(select(OpenIdLink)).all() == []


def test_who_is_unknown_is_not_added_unless_told(visitor: TestClient, user: User, database: Database) -> None:
    answer = come(visitor, "tom")
    assert (answer.status_code, "no account for you here" in answer.text) == (403, True)
    with database.read() as session:
        assert len(session.exec(select(User)).all()) == 1


@pytest.mark.parametrize(
    ("settings", "role"),
    [
        ({"openid_add_domains": "holt.example, Elm-Street.example"}, "viewer"),
        ({"openid_add_domains": "*", "openid_add_role": "agent"}, "agent"),
        ({"openid_add_domains": "street.example, example"}, None),
    ],
    indirect=["settings"],
)
def test_who_is_unknown_is_added_from_these_domains(
    visitor: TestClient, user: User, database: Database, role: str | None
) -> None:
    answer = come(visitor, "tom")
    assert answer.status_code == (303 if role else 403)
    with database.read() as session:
        tom = session.exec(select(User).where(User.email == "tom@elm-street.example")).one_or_none()
    if role is None:
        assert tom is None
        return
    assert tom is not None
    assert (tom.name, tom.role, tom.invited, tom.has_password) == ("Tom Ek", role, False, False)
    assert "Elm Street ID" in {entry.actor for entry in entries(database, "user.added")}
    account = visitor.get("/account").text
    assert "You have none." in account
    assert visitor.post("/account/openid/remove").status_code == 409, "it is the only way in"
    visitor.post("/sign-out")
    for typed in ("", ELSEWHERE):
        refused = visitor.post("/sign-in", data={"email": tom.email, "password": typed})
        assert refused.status_code == 401
    assert come(visitor, "tom").status_code == 303


def test_who_is_disabled_stays_out(visitor: TestClient, user: User, database: Database) -> None:
    def disable(at: Any) -> None:
        with database.write() as session:
            session.merge(user).disabled_at = at

    disable(now())
    assert "Your account is disabled" in come(visitor).text
    disable(None)
    assert come(visitor).status_code == 303
    visitor.cookies.clear()
    disable(now())
    assert "Your account is disabled" in come(visitor).text
    assert not signed_in(visitor)
    assert [entry.data for entry in entries(database, "user.refused")] == [{"why": "disabled"}] * 2


def test_an_invited_person_need_choose_no_password(visitor: TestClient, user: User, database: Database) -> None:
    with database.write() as session:
        session.merge(user).password_hash = NO_PASSWORD
    assert come(visitor).status_code == 303
    with database.read() as session:
        assert not session.get_one(User, user.id).invited
    assert "Elm Street ID, linked" in visitor.get(f"/users/{user.id}").text


def test_the_second_factor_is_asked_for_all_the_same(
    visitor: TestClient, user: User, database: Database, app: FastAPI
) -> None:
    secret = second_factor.new_secret()
    with database.write() as session:
        stored = session.get_one(User, user.id)
        second_factor.keep(app.state.seal, stored, secret)
        stored.totp_since = now()
    page = come(visitor)
    assert (page.status_code, signed_in(visitor)) == (200, False)
    hidden = dict(re.findall(r'name="(token|next)" value="([^"]*)"', page.text))
    assert hidden["next"] == "/messages?q=x"
    assert visitor.post("/sign-in/code", data=hidden | {"code": "000000"}).status_code == 401
    right = visitor.post("/sign-in/code", data=hidden | {"code": pyotp.TOTP(secret).now()})
    assert (right.headers["Location"], signed_in(visitor)) == ("/messages?q=x", True)
    assert entries(database, "user.signed_in")[-1].data == {"with": "OpenID Connect"}


def test_an_address_that_has_moved_to_another_person_there(
    visitor: TestClient, user: User, database: Database, site: OpenIdSite
) -> None:
    with database.write() as session:
        session.add(OpenIdLink(issuer=site.issuer, subject="who had it before", user_id=user.id))
    answer = come(visitor)
    assert (answer.status_code, "signs in as somebody else" in answer.text) == (403, True)


def test_the_link_can_be_removed(visitor: TestClient, user: User, database: Database) -> None:
    come(visitor)
    assert "/account/openid/remove" in visitor.get("/account").text
    assert visitor.post("/account/openid/remove").status_code == 303
    assert "Not linked yet" in visitor.get("/account").text
    assert visitor.post("/account/openid/remove").status_code == 404
    (entry,) = entries(database, "user.openid_removed")
    assert entry.actor_id == user.id


@pytest.mark.parametrize("settings", [{"openid_only": True}], indirect=True)
def test_passwords_can_be_turned_off(visitor: TestClient, user: User, database: Database) -> None:
    page = visitor.get("/sign-in").text
    assert "Sign in with Elm Street ID" in page
    assert 'name="password"' not in page
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 403
    assert visitor.get("/sign-in/forgot").headers["Location"] == "/sign-in"
    assert visitor.post("/sign-in/forgot", data={"email": EMAIL}).headers["Location"] == "/sign-in"
    assert come(visitor).status_code == 303
    assert 'name="old"' not in visitor.get("/account").text
    assert visitor.post("/account/openid/remove").status_code == 409
    visitor.post("/users", data={"email": "rut@b.example", "name": "Rut", "role": "agent"})
    with database.read() as session:
        assert session.exec(select(OneTimeLink)).all() == [], "the letter has no link for a password"
        assert session.exec(select(Delivery.address)).all() == ["rut@b.example"]


def test_the_provider_is_down(visitor: TestClient, user: User, app: FastAPI, site: OpenIdSite) -> None:
    url = back(sign_in_there(visitor.get(START).headers["Location"], "ida", BACK))
    app.state.openid._issuer = f"http://127.0.0.1:{free_port()}/o"  # nobody listens there
    app.state.openid._known = None
    for answer in (visitor.get(url), visitor.get(START)):
        assert (answer.status_code, "does not answer now" in answer.text) == (503, True)
        assert 'name="password"' in answer.text, "there is another way"
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 303


def test_the_provider_has_a_new_key_after_a_restart(visitor: TestClient, user: User, site: OpenIdSite) -> None:
    assert come(visitor).status_code == 303
    visitor.post("/sign-out")
    site.stop()
    site.new_key()
    site.start()
    assert come(visitor).status_code == 303
    assert signed_in(visitor)


def test_it_cannot_be_tried_without_end(visitor: TestClient, user: User, database: Database) -> None:
    come(visitor)
    visitor.post("/sign-out")
    visitor.cookies.clear()  # a browser that somebody has signed in with has a place of its own
    with database.write() as session:
        for row in session.exec(select(SignInTries).where(SignInTries.tries == 1)):
            row.tries = ADDRESS
    answer = visitor.get(back(sign_in_there(visitor.get(START).headers["Location"], "ida", BACK)))
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)


def test_without_a_provider_there_is_no_such_page(database_url: str, tmp_path: Path) -> None:
    with TestClient(create_app(CrmSettings(data_dir=tmp_path, database_url=database_url))) as client:
        assert client.get(START).status_code == 404
        assert client.get("/sign-in/openid/back").status_code == 404
        assert START not in client.get("/sign-in").text


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"openid_issuer": "login.example.com"}, "openid_issuer"),
        ({"openid_issuer": "https://login.example.com/?realm=work"}, "openid_issuer"),
        ({"openid_issuer": "https://me@login.example.com"}, "openid_issuer"),
        ({"openid_client_id": ""}, "openid_client_id"),
        ({"openid_add_role": "king"}, "openid_add_role"),
        ({"openid_issuer": None, "openid_only": True}, "openid_only"),
    ],
)
def test_settings_that_do_not_fit(wrong: dict[str, Any], name: str) -> None:
    right = {"openid_issuer": "https://login.example.com", "openid_client_id": "us"}
    CrmSettings(**right)
    with pytest.raises(ValidationError, match=name):
        CrmSettings(**right | wrong)


def test_the_process_says_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_OPENID_ISSUER", "https://login.example.com")
    with pytest.raises(SettingsError, match="POSTHASTE_OPENID_CLIENT_ID"):
        load(CrmSettings)


@pytest.mark.parametrize(
    ("issuer", "good"),
    [("https://login.example.com", True), ("http://127.0.0.1:8080/o", True), ("http://login.example.com", False)],
)
def test_production_asks_only_by_https(issuer: str, good: bool) -> None:
    settings = CrmSettings(environment="production", openid_issuer=issuer, openid_client_id="us")
    assert (settings.weaknesses()["openid_issuer"] is None) is good


def test_every_role_may_be_given(site: OpenIdSite) -> None:
    assert [given(site, {"openid_add_role": role}).openid_add_role for role in Role] == list(Role)
