"""An OpenID provider that lies, is slow, or answers anything: nobody comes in by that, and nothing stands still."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from crm_api.auth.models import User
from crm_api.openid import provider, wire
from crm_api.openid.tokens import LEEWAY_SECONDS
from crm_api.settings import CrmSettings
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, Liar
from tests.support.people import EMAIL, PASSWORD

START, BACK = "/sign-in/openid", "/sign-in/openid/back"


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


@pytest.fixture
def settings(database_url: str, tmp_path: Path, liar: Liar) -> CrmSettings:
    return CrmSettings(
        data_dir=tmp_path,
        database_url=database_url,
        openid_issuer=liar.issuer,
        openid_client_id=CLIENT_ID,
        openid_client_secret=CLIENT_SECRET,
    )


def come(client: TestClient, liar: Liar, **more: str) -> Any:
    there = client.get(START)
    assert there.status_code == 303, there.text
    return client.get(BACK, params=liar.sign_in_there(there.headers["Location"]) | more)


def test_the_truth_comes_in(visitor: TestClient, user: User, liar: Liar) -> None:
    """So that what follows is refused for the lie in it."""
    assert come(visitor, liar).status_code == 303


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another client"}, "aud"),
        ({"aud": [CLIENT_ID, "another client"]}, "azp"),
        ({"aud": [CLIENT_ID, "another client"], "azp": "another client"}, "azp"),
        ({"azp": "another client"}, "azp"),
        ({"aud": None}, "aud"),
        ({"nonce": "another one"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": 1}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": 9_999_999_999}, "in the future"),
        ({"iat": None}, "iat"),
        ({"nbf": 9_999_999_999}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "subject"),
        ({"sub": "x" * 256}, "subject"),
        ({"sub": 7}, "sub"),
        ({"at_hash": "AAAA"}, "at_hash"),
    ],
    ids=str,
)
def test_claims_that_are_wrong(
    visitor: TestClient, user: User, liar: Liar, claims: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    liar.claims = claims
    refused(come(visitor, liar), visitor)
    (line,) = [record.getMessage() for record in caplog.records if "OpenID" in record.getMessage()]
    assert why in line


def refused(answer: Any, client: TestClient) -> None:
    assert answer.status_code == 401, answer.text
    assert "did not understand each other" in answer.text
    assert client.get("/account").status_code == 303


@pytest.mark.parametrize("off", [-LEEWAY_SECONDS + 20, LEEWAY_SECONDS - 20])
def test_clocks_may_differ_a_little(visitor: TestClient, user: User, liar: Liar, off: int) -> None:
    at = int(time.time()) + off
    liar.claims = {"iat": at, "exp": at + 5}
    assert come(visitor, liar).status_code == 303


def test_and_no_more_than_that(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.claims = {"exp": int(time.time()) - LEEWAY_SECONDS - 1}
    refused(come(visitor, liar), visitor)


def part(what: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(what).encode()).decode().rstrip("=")


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{part(header | {'alg': 'none'})}.{part(claims)}."


def by_hmac(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """By hand: libraries refuse to take a public key for a secret."""
    signed = f"{part(header | {'alg': 'HS256'})}.{part(claims)}"
    digest = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def with_a_key_of_its_own(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The header brings the key along that it is to be believed by."""
    key = RSAKey.generate_key(2048)
    return jws.serialize_compact(header | {"jwk": key.as_dict(private=False)}, json.dumps(claims).encode(), key)


@pytest.mark.parametrize("way", ["none", "None", "public key", "client secret", "own key", "altered", "no JWT", "cut"])
def test_signatures_that_are_none(visitor: TestClient, user: User, liar: Liar, way: str) -> None:
    def altered(header: dict[str, Any], claims: dict[str, Any]) -> str:
        first, _, last = jws.serialize_compact(header, json.dumps(claims).encode(), liar.key).split(".")
        return f"{first}.{part(claims | {'email': 'admin@holt-trees.example'})}.{last}"

    liar.make = {
        "none": unsigned,
        "None": lambda header, claims: f"{part(header | {'alg': 'None'})}.{part(claims)}.",
        "public key": lambda header, claims: by_hmac(liar.key.as_pem(private=False), header, claims),
        "client secret": lambda header, claims: by_hmac(CLIENT_SECRET.encode(), header, claims),
        "own key": with_a_key_of_its_own,
        "altered": altered,
        "no JWT": lambda header, claims: "no.jwt",
        "cut": lambda header, claims: f"{part(header)}.{part(claims)}.",
    }[way]
    refused(come(visitor, liar), visitor)


def test_a_key_of_another_kind_will_do(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.key = ECKey.generate_key("P-256", {"kid": "curve"})
    assert come(visitor, liar).status_code == 303


@pytest.mark.parametrize("kid", ["two", "one"])
def test_new_keys_are_fetched_when_a_token_needs_them(visitor: TestClient, user: User, liar: Liar, kid: str) -> None:
    """Under a new name, and under the old one."""
    assert come(visitor, liar).status_code == 303
    visitor.post("/sign-out")
    assert come(visitor, liar).status_code == 303
    assert liar.asked.count("/keys") == 1, "they are remembered"
    visitor.post("/sign-out")
    liar.key = RSAKey.generate_key(2048, {"kid": kid})
    assert come(visitor, liar).status_code == 303
    assert liar.asked.count("/keys") == 2
    assert liar.asked.count("/.well-known/openid-configuration") == 1


def test_the_address_may_come_from_userinfo(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.claims = {"email": None, "email_verified": None}
    liar.userinfo = {"sub": "2718", "email": EMAIL, "email_verified": True}
    assert come(visitor, liar).status_code == 303


def test_and_is_verified_only_if_that_says_so(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.claims = {"email": None, "email_verified": True}
    liar.userinfo = {"sub": "2718", "email": EMAIL}
    assert "has not verified" in come(visitor, liar).text


def test_but_not_somebody_elses(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.claims = {"email": None, "email_verified": None}
    liar.userinfo = {"sub": "another", "email": EMAIL, "email_verified": True}
    refused(come(visitor, liar), visitor)


@pytest.mark.parametrize("verified", [False, None, "false", 1.5, "yes", [True]])
def test_what_is_not_said_to_be_verified_is_not(visitor: TestClient, user: User, liar: Liar, verified: Any) -> None:
    liar.claims = {"email_verified": verified}
    assert "has not verified" in come(visitor, liar).text
    assert visitor.get("/account").status_code == 303


@pytest.mark.parametrize("email", [None, "", 7, "nobody", EMAIL + "\0x", EMAIL + ".example"])
def test_addresses_that_are_nobodys(visitor: TestClient, user: User, liar: Liar, email: Any) -> None:
    liar.claims, liar.userinfo = {"email": email}, {"sub": "2718"}
    assert come(visitor, liar).status_code == 403


def test_a_code_from_another_issuer(visitor: TestClient, user: User, liar: Liar) -> None:
    refused(come(visitor, liar, iss="https://elsewhere.example"), visitor)
    assert "/token" not in liar.asked
    assert come(visitor, liar, iss=liar.issuer).status_code == 303


def test_who_calls_himself_otherwise_is_not_the_issuer(visitor: TestClient, user: User, liar: Liar) -> None:
    liar.metadata = {"issuer": liar.issuer + "/"}
    refused(visitor.get(START), visitor)


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url", ["http://{}/x", "https://{}/x", "file:///etc/passwd", "", None, 7, "http://[", "http://h\0/", "ftp://{}/"]
)
def test_only_the_issuers_host_is_asked(visitor: TestClient, user: User, liar: Liar, name: str, url: Any) -> None:
    with Liar() as other:
        host = other.issuer.removeprefix("http://")
        liar.metadata = {name: url.format(host) if isinstance(url, str) else url}
        assert come(visitor, liar).status_code == 503
        assert visitor.get("/account").status_code == 303
        assert other.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "", None, "//evil.example/", "data:,x"])
def test_nobody_is_sent_to_anything_but_a_site(visitor: TestClient, user: User, liar: Liar, url: Any) -> None:
    liar.metadata = {"authorization_endpoint": url}
    assert visitor.get(START).status_code == 503


def test_further_hosts_may_be_named(user: User, visitor: TestClient, liar: Liar, app: FastAPI) -> None:
    with Liar() as other:
        other.key = liar.key
        liar.metadata = {"jwks_uri": f"{other.issuer}/keys"}
        hosts = other.issuer.removeprefix("http://")
        app.state.openid = provider.Provider(app.state.settings.model_copy(update={"openid_hosts": hosts}))
        assert come(visitor, liar).status_code == 303
        assert other.asked == ["/keys"]


DISCOVERY = "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "http://127.0.0.1:1/"}, b"{}"),
        (307, {"Location": "/elsewhere"}, b"{}"),
        (500, {}, b"{}"),
        (404, {}, b"<html>"),
        (200, {}, b"no JSON"),
        (200, {}, b"[]"),
        (200, {}, b"{}"),
        (200, {}, b"\xff\xfe"),
        (200, {}, b" " * (wire.MOST_BYTES + 1)),
        (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
        (200, {}, b"[" * 100_000),
        (200, {}, b'{"keys": 5, "id_token": 5, "token_type": 5, "expires_in": "soon"}'),
    ],
    ids=["302", "307", "500", "404", "text", "list", "empty", "bytes", "long", "packed", "deep", "odd"],
)
@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/keys"])
def test_answers_of_any_kind(
    visitor: TestClient, user: User, liar: Liar, path: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    liar.answer = lambda asked: (status, headers, body) if asked == path else None
    answer = visitor.get(START)
    if answer.status_code == 303:
        answer = visitor.get(BACK, params=liar.sign_in_there(answer.headers["Location"]))
    assert answer.status_code in (401, 503), answer.text
    assert 'name="password"' in answer.text
    assert set(liar.asked) <= {DISCOVERY, "/token", "/keys"}, "no redirect was followed"
    assert visitor.get("/account").status_code == 303


def test_an_error_at_the_token_endpoint(
    visitor: TestClient, user: User, liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    words = json.dumps({"error": "invalid_client\nforged line", "error_description": CLIENT_SECRET}).encode()
    liar.answer = lambda asked: (400, {}, words) if asked == "/token" else None
    refused(come(visitor, liar), visitor)
    assert "the provider says invalid_client" in caplog.text
    assert "\nforged" not in caplog.text
    assert CLIENT_SECRET not in caplog.text


def test_a_slow_provider_keeps_nobody_else_waiting(
    visitor: TestClient, user: User, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.held.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(visitor.get, START)
        while not liar.asked:
            time.sleep(0.01)
        assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
        assert not slow.done()
        liar.held.set()
        assert slow.result(30).status_code == 303


@pytest.mark.parametrize("limit", ["READ_SECONDS", "SECONDS"])
def test_a_provider_that_says_nothing_is_waited_for_only_so_long(
    visitor: TestClient, user: User, liar: Liar, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(wire if limit == "READ_SECONDS" else provider, limit, 0.2)
    liar.held.clear()
    answer = visitor.get(START)
    assert (answer.status_code, "does not answer now" in answer.text) == (503, True)


def test_the_log_holds_no_secret(visitor: TestClient, user: User, liar: Liar, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    liar.claims = {"nonce": "wrong"}
    there = visitor.get(START).headers["Location"]
    params = liar.sign_in_there(there) | {"code": "c0de-of-the-day"}
    visitor.get(BACK, params=params)
    for secret in (
        "c0de-of-the-day",
        CLIENT_SECRET,
        base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode(),
    ):
        lines = [
            line
            for line in caplog.messages
            if secret in line and not line.startswith("HTTP Request: GET http://posthaste")
        ]
        assert lines == []
