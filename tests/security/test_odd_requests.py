"""What no client of good faith sends: each is refused, or as if it were not there, and never a defect of ours."""

from __future__ import annotations

import asyncio
import base64
import json
from itertools import product
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_api.packed import pack
from crm_api.paging import make_cursor
from tests.support.crm import Crm

ID = "01936b2e-8f00-7c3a-9d50-2b1f6a7c8d9e"


def packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


DEEP = b"[" * 8000
CURSORS = {
    "deep": packed(DEEP),
    "deep in a list": packed(b'["name", ' + DEEP[:5000]),
    "an object": packed(b'{"a": "b"}'),
    "half a pair": packed(b'["name", "\\ud800", "' + ID.encode() + b'"]'),
    "bytes": packed(b'["\xff\xfe"]'),
    "numbers": packed(b"[1, 2, 3]"),
    "NaN": packed(b"[NaN]"),
    "first day": make_cursor("written", "0001-01-01T00:00:00+23:59", ID),
    "last day": make_cursor("written", "9999-12-31T23:59:59-23:59", ID),
    "naive": make_cursor("created", "2026-11-24T08:00:00", ID),
    "no date": make_cursor("created", "24 November", ID),
    "NUL": make_cursor("name", "a\0b", ID),
    "digits": make_cursor("9" * 5000),
    "int64": make_cursor(str(2**63)),
    "not base64": "§§§",
    "one character": "A",
    "empty": make_cursor(),
    "none": "=",
    "after the last": make_cursor("ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "after the last of a sort": make_cursor("name", "\U0010ffff", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "before the first": make_cursor("00000000-0000-0000-0000-000000000000"),
    "after the last mail": make_cursor(2**63 - 1),
}
PAGED = (
    "/api/v1/messages", "/api/v1/deliveries", "/api/v1/customers", "/api/v1/customers?sort=written",
    "/api/v1/customers?sort=created", "/api/v1/users", "/api/v1/keys", "/api/v1/audit",
    "/api/v1/reconciliation/findings", "/api/v1/sandbox/messages", "/api/v1/customers/{customer}/timeline",
)  # fmt: skip
PAGES = (
    "/customers", "/customers?sort=name", "/messages", "/users", "/keys", "/audit", "/reconciliation",
    "/customers/{customer}", "/messages/{message}",
)  # fmt: skip


@pytest.fixture
def there(crm: Crm) -> dict[str, str]:
    """Ids of what is there."""
    return {"customer": str(crm.customer().id), "message": str(crm.send().id)}


def failures(client: TestClient, paths: tuple[str, ...], there: dict[str, str], **odd: str) -> list[str]:
    client.app.state.feed.closed = True  # type: ignore[attr-defined]  # nobody waits
    found = []
    for path in paths:
        for name, cursor in CURSORS.items():
            query = {"cursor": cursor} | odd
            answer = client.get(path.format(**there), params=query | dict_of(path))
            if answer.status_code not in (200, 422):
                found.append(f"{path} {name}: {answer.status_code}")
    return found


def dict_of(path: str) -> dict[str, str]:
    """httpx replaces a query that stands in the path."""
    query = path.partition("?")[2]
    return dict(pair.split("=") for pair in query.split("&")) if query else {}


def test_cursors_of_the_api(api: TestClient, there: dict[str, str]) -> None:
    assert failures(api, PAGED, there) == []


def test_cursors_of_pages(browser: TestClient, there: dict[str, str]) -> None:
    assert failures(browser, PAGES, there) == []


def test_a_name_that_unfolds_has_a_next_page(api: TestClient) -> None:
    """U+FDFA is eighteen characters when it is folded: what we give as `next` we take."""
    for number in range(2):
        body = {"last_name": "\ufdfa" * 100, "company": "\ufdfa" * 200, "email": f"r{number}@example.com"}
        assert api.post("/api/v1/customers", json=body).status_code == 201
    for sort in ("name", "company"):
        first = api.get("/api/v1/customers", params={"sort": sort, "limit": 1}).json()
        second = api.get("/api/v1/customers", params={"sort": sort, "limit": 1, "cursor": first["next"]})
        assert second.status_code == 200, second.text
        assert second.json()["items"][0]["email"] != first["items"][0]["email"]


TOASTS: dict[str, str] = {
    "deep": packed(DEEP[:3000]),
    "deep in one we do not know": packed(b'{"title": "x", "y": ' + DEEP[:3000]),
    "a list": packed(b"[1]"),
    "no title": packed(b"{}"),
    "numbers": packed(b'{"title": 1, "text": 2}'),
    "seconds in words": packed(b'{"title": "x", "undo": "/x", "undo_seconds": "soon"}'),
    "seconds without end": packed(b'{"title": "x", "undo": "/x", "undo_seconds": 1e400}'),
    "half a pair": packed(b'{"title": "\\ud800"}'),
    "a link that is none": packed(b'{"title": "x", "link": {"a": 1}}'),
    "bytes": packed(b"\xff"),
    "none": "§",
    "long": "A" * 5000,
}


def test_a_toast_that_was_not_left_here(browser: TestClient) -> None:
    mine = [f"{name}={value}" for name, value in browser.cookies.items()]
    for name, toast in TOASTS.items():
        cookies = "; ".join([*mine, f"toast={toast}"]).encode("latin-1")
        answer = browser.get("/help/keys", headers={"Cookie": cookies})  # type: ignore[dict-item]
        assert answer.status_code == 200, name
        assert "toast=" not in answer.headers.get("Set-Cookie", ""), f"{name}: it was taken for one"


def test_a_toast_that_was_left_here_is_shown(browser: TestClient) -> None:
    browser.cookies.set("toast", pack({"title": "It is done.", "text": "Really."}))
    assert "It is done." in browser.get("/help/keys").text


HEADERS: dict[str, dict[str, bytes]] = {
    "a host that is none": {"Host": b"["},
    "a host with bytes": {"Host": b"\xff\xfe"},
    "an origin that is none": {"Origin": b"http://["},
    "a page that is none": {"HX-Request": b"true", "HX-Current-URL": b"http://[::"},
    "a page with bytes": {"HX-Request": b"true", "HX-Current-URL": b"http://x/\xff?\xfe"},
    "a key with bytes": {"Authorization": b"Bearer \xff\xfe"},
    "a scheme alone": {"Authorization": b"Bearer"},
    "a zone that is a folder": {"Cookie": b"timezone=America"},
    "a zone elsewhere": {"Cookie": b"timezone=../../etc/passwd"},
    "a zone with NUL": {"Cookie": b"timezone=%00"},
    "a long zone": {"Cookie": b"timezone=" + b"A" * 5000},
    "cookies without names": {"Cookie": b"=;==;;=; a"},
    "a type that is none": {"Content-Type": b"\xff/\xfe"},
    "a range": {"Range": b"bytes=99999999999999999999-"},
    "a tag": {"If-None-Match": b'W/"\xff'},
    "a time": {"If-Modified-Since": b"never"},
    "a forwarded address": {"X-Forwarded-For": b"[", "X-Forwarded-Proto": b"\xff"},
    "a websocket": {"Connection": b"Upgrade", "Upgrade": b"websocket"},
}
OPEN = ("GET /sign-in", "POST /sign-in", "GET /", "GET /api/v1/me", "POST /api/v1/messages", "GET /links/x",
        "GET /health/live", "POST /sign-in/forgot", "GET /customers?q=%ff", "HEAD /sign-in", "OPTIONS /sign-in",
        "TRACE /sign-in", "PUT /sign-in", "GET /static/x/app.css", "GET /static/%00/%00", "GET /links/%00",
        "GET /links/%ED%A0%80", "GET /%2e%2e/%2f", "GET //x", "GET /api/v1/%ff")  # fmt: skip


def test_headers_of_people_who_are_not_signed_in(visitor: TestClient) -> None:
    wrong = []
    for (name, headers), what in product(HEADERS.items(), OPEN):
        method, _, path = what.partition(" ")
        answer = visitor.request(method, f"http://posthaste.example{path}", headers=headers)  # type: ignore[arg-type]
        if answer.status_code >= 500:
            wrong.append(f"{what} {name}: {answer.status_code}")
    assert wrong == []


def test_an_address_whose_bytes_are_no_text(visitor: TestClient) -> None:
    """A query may hold any bytes, and httpx writes none of them."""

    async def ask(query: bytes, path: str) -> int:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "state": {},
            "headers": [(b"host", b"posthaste.example")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await visitor.app(scope, receive, send)  # type: ignore[arg-type]
        return int(sent[0]["status"])

    for query in (b"q=\xff", b"\xff\xfe", b"next=\xed\xa0\x80", b"=&=&&&%", b"%"):
        for path in ("/sign-in", "/customers", "/nowhere", "/api/v1/me"):
            assert asyncio.run(ask(query, path)) < 500, (query, path)


BODIES: dict[str, bytes] = {
    "a member with half a pair": b'{"\\ud800": 1}',
    "a value with half a pair": b'{"first_name": "\\ud800", "text": "\\ud800", "name": "\\udfff", "keys": ["\\ud800"]}',
    "NUL": b'{"first_name": "a\\u0000", "text": "a\\u0000", "name": "a\\u0000", "keys": ["\\u0000"]}',
    "NaN": b'{"days": NaN, "undo_seconds": Infinity, "to": NaN}',
    "an exponent": b'{"days": 1e999999, "undo_seconds": -1e400}',
    "digits": b'{"days": ' + b"9" * 5000 + b"}",
    "deep": b'{"to": ' + b"[" * 50_000,
    "twice": b'{"name": "a", "name": {"name": []}}',
    "bytes": b'{"name": "\xff"}',
    "UTF-16": '{"name": "ä"}'.encode("utf-16"),
    "nothing": b"",
    "null": b"null",
    "a text": b'"x"',
    "a list": b"[]",
    "a long name": json.dumps({"x" * 100_000: 1}).encode(),
    "many": json.dumps({f"x{n}": 1 for n in range(30_000)}).encode(),
}
KINDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "x")
TAKERS = ("/api/v1/messages", "/api/v1/customers", "/api/v1/customers/{customer}/notes", "/api/v1/keys",
          "/api/v1/users",
          "/api/v1/reconciliation/strangers/remove", "/api/v1/customers/{customer}/contacts", "/api/v1/files",
          "/messages", "/customers", "/sign-in", "/messages/compose", "/appearance")  # fmt: skip


def test_bodies(api: TestClient, there: dict[str, str]) -> None:
    wrong = []
    for (name, body), path, kind in product(BODIES.items(), TAKERS, KINDS):
        answer = api.post(path.format(**there), content=body, headers={"Content-Type": kind})
        if answer.status_code >= 500:
            wrong.append(f"{path} {kind} {name}: {answer.status_code} {answer.text[:100]}")
    assert wrong == []


FORMS = ("/messages", "/messages/compose", "/customers", "/customers/{customer}/notes", "/users", "/sign-in")
CHARSETS = (
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "utf-16",
    "rot13",
    "x" * 300,
)


def test_a_form_in_a_character_set_of_somebodys_choice(browser: TestClient, there: dict[str, str]) -> None:
    """Pages are UTF-8, and so are their forms."""
    part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n\\ud800 xn--a\xff.\r\n'
    names = (b"subject", b"markdown", b"typed", b"text", b"first_name", b"email", b"name", b"to")
    body = b"".join(part % name for name in names) + b"--x--\r\n"
    for path, charset in product(FORMS, CHARSETS):
        kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
        answer = browser.post(path.format(**there), content=body, headers=kind)
        assert answer.status_code == 422, (path, charset)
    kind = {"Content-Type": 'multipart/form-data; charset="UTF-8"; boundary=x'}
    plain = b'--x\r\nContent-Disposition: form-data; name="first_name"\r\n\r\nAda\r\n--x--\r\n'
    assert browser.post("/customers", content=plain, headers=kind).status_code == 303


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "0000-00-00", "1969-12-31", "9999-12-30"])
def test_days_at_the_ends_of_time(browser: TestClient, day: str) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
        browser.cookies.set("timezone", zone)
        for page in ("/audit", "/audit.csv"):
            assert browser.get(page, params={"since": day, "until": day}).status_code == 200, (zone, page)
        form = {
            "typed": "ada@example.com",
            "subject": "x",
            "markdown": "x",
            "send_at": f"{day}T00:00",
            "do": "send-later",
        }
        assert browser.post("/messages", data=form).status_code == 422
        assert browser.post("/messages/compose", data=form).status_code == 200
    for offset in ("+23:59", "-23:59", "Z"):
        moment = f"{day}T23:59:59{offset}"
        assert browser.get("/api/v1/audit", params={"since": moment, "until": moment}).status_code in (200, 422)
        draft = {"to": [{"email": "ada@example.com"}], "subject": "x", "text": "x", "send_at": moment}
        assert browser.post("/api/v1/messages", json=draft).status_code == 422


def test_a_page_after_the_last_leads_back(browser: TestClient, there: dict[str, str]) -> None:
    first_of_all = make_cursor("00000000-0000-0000-0000-000000000000")  # newest first: nothing is older
    for path in ("/messages", "/messages?q=saplings", "/keys", "/audit"):
        page = browser.get(path, params={"cursor": first_of_all} | dict_of(path))
        assert "Nothing comes after that" in page.text, path
        assert f'href="{path}">First page' in page.text, path


def test_nul_in_the_composer(browser: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """What the database cannot hold is refused before it is asked; that it is told at all is a warning in the log."""
    for field in ("typed", "to", "file", "subject", "markdown", "reply_to", "sender", "preset", "token", "back"):
        form = {"typed": "ada@example.com", "subject": "x", "markdown": "x"} | {field: "a\0b"}
        for path in ("/messages/preview", "/messages/compose", "/messages"):
            assert browser.post(path, data=form).status_code < 500, (path, field)
        assert "cannot hold" not in caplog.text, (field, caplog.text)
