"""Nobody is sent to another site: whatever an address from outside looks like, and wherever it comes in."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.settings import CrmSettings
from crm_api.web.local_url import here, in_header
from crm_api.web.toasts import COOKIE
from tests.support.people import EMAIL, PASSWORD

OURS = "http://posthaste.example/"
ELSEWHERE = [
    "",
    "e.example",
    "//e.example",
    "///e.example",
    "////e.example",
    "/\\e.example",
    "\\/e.example",
    "\\\\e.example",
    "/%5ce.example",
    "/%5c/e.example",
    "/%2fe.example",
    "/%252f%252fe.example",
    "/\t/e.example",
    "\t//e.example",
    " //e.example",
    "/\n/e.example",
    "/\r\nSet-Cookie: a=b",
    "/messages\r\n\r\n<script>",
    "/messages?x=\r\nX: y",
    "/\0/e.example",
    "https:e.example",
    "https:/e.example",
    "http://posthaste.example@e.example",
    "//posthaste.example@e.example",
    "/\\posthaste.example:80@e.example",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "/..//e.example",
    "/.//e.example",
    "/messages/..//e.example",
    "/messages/../../e.example",
    "/%2e%2e//e.example",
    "/\u2215e.example",
    "/\u2044e.example",
    "/\uff0fe.example",
    "/\uff3ce.example",
    "\uff0f/e.example",
    "/\u3002/e.example",
    "/;//e.example",
    "/messages//e.example",
    "/\x85/e.example",
    "/\u2028/e.example",
    "/\ud800",
    "/" + "a" * 3000,
    "/messages?q=" + "a" * 3000,
]
LOCAL = [
    "/",
    "/messages?view=sent",
    "/messages?q=//e.example",
    "/messages/0193a0e1-7d3c-7000-8000-000000000000?open=1#delivery-1",
    "/search?q=%C3%85sa%20B",
    "/search?q=Åsa B",
    "/audit.csv?action=user.",
    "/customers/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_what_is_none_of_ours(url: str) -> None:
    assert here(url) == "/"


@pytest.mark.parametrize("url", LOCAL)
def test_what_is_ours(url: str) -> None:
    assert here(url) == url
    assert in_header(url) == url or not url.isascii()
    assert urlsplit(urljoin(OURS, here(url))).netloc == "posthaste.example"


def leads(answer: Any) -> set[str]:
    """Every address in an answer's head, and in its links and forms."""
    heads = [answer.headers.get(name, "") for name in ("Location", "HX-Redirect", "Refresh", "Content-Location")]
    in_page = re.findall(r'(?:href|action|hx-get|hx-post)="([^"]*)"', answer.text)
    nexts = re.findall(r'name="(?:next|back)" value="([^"]*)"', answer.text)
    return {url for url in [*heads, *in_page, *nexts] if url}


def test_every_way_in(visitor: TestClient, browser: TestClient) -> None:
    for url in ELSEWHERE:
        if url and "\ud800" not in url:
            leads_nowhere_else(visitor, browser, url)


def leads_nowhere_else(visitor: TestClient, browser: TestClient, url: str) -> None:
    said = quote(url, safe="")
    head = said if not url.isascii() or not url.isprintable() else url
    answers = [
        visitor.get(f"/sign-in?next={said}"),
        visitor.get(f"/sign-in/openid?next={said}"),
        visitor.post("/sign-in", data={"email": EMAIL, "password": "wrong", "next": url}),
        visitor.post("/sign-in/code", data={"token": "x", "code": "1", "next": url}),
        visitor.get("/system", headers={"HX-Request": "true", "HX-Current-URL": head}),
        visitor.get("/system", headers={"HX-Request": "true", "HX-Current-URL": f"http://posthaste.example{head}"}),
        browser.get(f"/sign-in?next={said}"),
        browser.post("/appearance", data={"theme": "dark", "next": url}),
        browser.post("/messages/compose", data={"back": url, "subject": "x"}),
        browser.get("/messages", headers={"Referer": head}),
    ]
    for answer in answers:
        assert answer.status_code < 500
        for lead in leads(answer):
            assert urlsplit(urljoin(OURS, lead)).netloc == "posthaste.example", (answer.request.url, lead)
            assert "e.example" not in lead.replace("posthaste.example", ""), (answer.request.url, lead)


def test_after_signing_in(visitor: TestClient, user: object) -> None:
    for url in ("/\\e.example", "/\t/e.example", "/%5ce.example"):
        visitor.cookies.clear()
        answer = visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD, "next": url})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")


GOOD = {"title": "Queued for delivery", "text": "To Ada", "link": "/messages/1", "undo_seconds": 5}
BAD: list[Any] = [
    *({"link": url} for url in ELSEWHERE if url),
    *({"undo": url} for url in ELSEWHERE if url),
    {"undo": "/sign-out"},
    {"undo": "/users/0193a0e1-7d3c-7000-8000-000000000000/disable"},
    {"undo": "/messages/0193a0e1-7d3c-7000-8000-000000000000/undo?x=/../../sign-out"},
    {"title": 1},
    {"title": ["x"]},
    {"title": "x" * 200},
    {"undo_seconds": "5"},
    {"undo_seconds": 2**70},
    {"trouble": "yes"},
    {"more": "x"},
]


def baked(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def page_with(client: TestClient, cookie: str) -> str:
    ours = "; ".join(f"{name}={value}" for name, value in client.cookies.items() if name != COOKIE)
    answer = client.get("/messages", headers={"Cookie": f"{COOKIE}={cookie}; {ours}"})
    assert answer.status_code == 200
    return answer.text


def test_a_toast_of_somebody_elses_making(browser: TestClient) -> None:
    assert 'class="toast"' in page_with(browser, baked(GOOD))
    for wrong in BAD:
        assert 'class="toast"' not in page_with(browser, baked(GOOD | wrong)), wrong


def test_a_cookie_that_is_no_toast_at_all(browser: TestClient) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 2000).decode()
    for cookie in (baked(["x"]), baked(None), deep, "a" * 5000, "%%%", "gA=="):
        assert 'class="toast"' not in page_with(browser, cookie)


def test_a_toast_is_text(browser: TestClient) -> None:
    page = page_with(browser, baked(GOOD | {"text": "<img src=x onerror=alert(1)>", "link_word": "<b>x</b>"}))
    assert "<img src=x" not in page
    assert "<b>x</b>" not in page


@pytest.mark.parametrize("how", ["https", "public url"])
def test_with_https_every_cookie_is_secure(settings: CrmSettings, user: object, how: str) -> None:
    base, public = ("https://posthaste.example", None) if how == "https" else (OURS, "https://posthaste.example")
    app: FastAPI = create_app(settings.model_copy(update={"public_url": public}))
    with TestClient(app, base_url=base, follow_redirects=False) as client:
        signed = client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        cookie = signed.headers["Set-Cookie"].partition(";")[0]
        ours = {"Cookie": cookie}
        answers = [
            signed,
            client.post("/appearance", data={"theme": "dark"}, headers=ours),
            client.post("/appearance", data={"theme": "system"}, headers=ours),
            client.post("/account/sessions/end", headers=ours),
            client.get("/account", headers={"Cookie": f"{cookie}; __Host-{COOKIE}={baked(GOOD)}"}),
            client.post("/sign-out", headers=ours),
        ]
    lines = [line for answer in answers for line in answer.headers.get_list("Set-Cookie")]
    names = {line.partition("=")[0] for line in lines}
    assert names >= {f"__Host-posthaste-{settings.port}", "theme", f"__Host-{COOKIE}"}
    for line in lines:
        parts = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"secure", "samesite=lax", "path=/"} <= parts, line
        assert ("httponly" in parts) == (not line.startswith("theme=")), line
