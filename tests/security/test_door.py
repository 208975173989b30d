"""The closed door: every route, every way in."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.auth.keys import make_key
from crm_api.auth.models import ApiKey
from crm_api.auth.roles import BY_NAME, OPEN
from crm_api.db import Database
from shared.clock import now
from tests.support.people import EMAIL, KEY, PASSWORD

KEY_HEADER = {"Authorization": f"Bearer {KEY}"}


def _ways(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"GET"}):
            path = route.path
            yield method, path


def test_every_route_is_closed_but_the_sign_in_page_health_and_static_files(visitor: TestClient, app: FastAPI) -> None:
    opened = set()
    ways = list(_ways(app))
    assert len(ways) > 10
    for method, path in ways:
        # parameters that fit any converter: what matters is who asks, not for what
        url = path
        while "{" in url:
            start, end = url.index("{"), url.index("}")
            url = url[:start] + "00000000-0000-7000-8000-000000000000" + url[end + 1 :]
        answer = visitor.request(method, url)
        refused = answer.status_code == (401 if url.startswith("/api/") else 303) and (
            url.startswith("/api/") or answer.headers["Location"].startswith("/sign-in")
        )
        if not refused:
            opened.add(path)
    assert opened == {route.partition(" ")[2] for route in BY_NAME["open"].routes}
    assert opened == {*OPEN, "/static/{version}/{name:path}", "/links/{token}"}


@pytest.mark.parametrize("path", ["/sign-in/../help/keys", "//sign-in", "/sign-in/", "/static", "/nothing", "/health/"])
def test_a_path_that_only_resembles_an_open_one_is_closed(visitor: TestClient, path: str) -> None:
    assert visitor.get(path).status_code == 303


def test_the_api_says_401_as_a_problem_document(visitor: TestClient) -> None:
    answer = visitor.get("/api/v1/system")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


def test_a_fragment_sends_the_whole_page_to_sign_in(visitor: TestClient) -> None:
    answer = visitor.get(
        "/system", headers={"HX-Request": "true", "HX-Current-URL": "http://posthaste.example/help/keys?x=1"}
    )
    assert answer.headers["HX-Redirect"] == "/sign-in?next=/help/keys%3Fx%3D1"


def test_a_body_is_not_even_read_before_it_is_known_who_sends_it(visitor: TestClient) -> None:
    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert visitor.post("/api/v1/system", content=body()).status_code == 401


def test_a_key_opens_the_api_and_only_its_hash_is_stored(api: TestClient, database: Database) -> None:
    assert api.get("/api/v1/system").status_code == 200
    with database.read() as session:
        stored = session.exec(select(ApiKey)).one()
    assert stored.prefix == KEY[:10]
    assert KEY not in str(stored.model_dump())


def test_a_wrong_key_is_refused_even_with_a_good_cookie(browser: TestClient) -> None:
    for header in ("Bearer ph_wrong", "Bearer", "Bearer ", "Basic aWRhOmlkYQ==", KEY, f"Bearer {KEY}x", ""):
        answer = browser.get("/api/v1/system", headers={"Authorization": header})
        assert answer.status_code == 401, header


def test_a_revoked_key_and_a_disabled_account_are_out_at_once(api: TestClient, database: Database) -> None:
    with database.write() as session:
        session.exec(select(ApiKey)).one().revoked_at = now()
    assert api.get("/api/v1/system").status_code == 401


def test_last_use_of_a_key_is_written_now_and_then(api: TestClient, database: Database) -> None:
    def used() -> object:
        with database.read() as session:
            return session.exec(select(ApiKey)).one().used_at

    api.get("/api/v1/system")
    first = used()
    assert first is not None
    api.get("/api/v1/system")
    assert used() == first
    with database.write() as session:
        key = session.exec(select(ApiKey)).one()
        assert key.used_at
        key.used_at -= timedelta(hours=2)
    api.get("/api/v1/system")
    assert used() != first


def test_keys_have_256_bits() -> None:
    assert len({make_key() for _ in range(100)}) == 100
    assert all(len(make_key()) == 46 for _ in range(10))


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://posthaste.example:8001"},
    {"Origin": "http://posthaste.example.evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://posthaste.example"},
]


def test_another_site_cannot_act_in_somebodys_name(browser: TestClient) -> None:
    for headers in FROM_ELSEWHERE:
        assert browser.post("/sign-out", headers=headers).status_code == 403, headers
        assert browser.get("/help/keys").status_code == 200, "still signed in"


def test_another_site_cannot_sign_somebody_in(user: object, visitor: TestClient) -> None:
    for headers in FROM_ELSEWHERE:
        answer = visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers=headers)
        assert answer.status_code == 403, headers
        assert not visitor.cookies


def test_our_own_pages_can(browser: TestClient) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://posthaste.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://posthaste.example"},
    ):
        assert browser.post("/appearance", data={"theme": "dark"}, headers=headers).status_code == 303, headers


def test_links_from_elsewhere_still_open_pages(browser: TestClient) -> None:
    assert browser.get("/help/keys", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_what_the_door_answers_itself_has_the_headers_too(visitor: TestClient) -> None:
    for path in ("/sign-in", "/help/keys", "/api/v1/system", "/nothing"):
        headers = visitor.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
