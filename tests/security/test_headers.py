"""The headers that go with everything, whoever answers it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.settings import CrmSettings
from crm_api.web.body_limit import largest_request

PAGES = ["/", "/messages", "/messages/new", "/customers", "/customers/new", "/sandbox", "/help/api", "/help/keys"]
ROOT = Path(__file__).resolve().parents[2]


def is_guarded(headers: dict[str, str]) -> bool:
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    return (
        policy["default-src"] == "'self'"
        and policy["script-src"] == policy["style-src"] == policy["font-src"] == "posthaste.example/static/"
        and policy["img-src"] == "posthaste.example/static/ data:"
        and policy["worker-src"] == policy["manifest-src"] == policy["media-src"] == "'none'"
        and policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
        and policy["form-action"] == "'self'"
        and "unsafe" not in str(policy)
        and headers["x-content-type-options"] == "nosniff"
        and headers["referrer-policy"] == "same-origin"
        and headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        and headers["x-dns-prefetch-control"] == "off"
    )


def test_pages(browser: TestClient) -> None:
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code in (200, 303), path
        assert is_guarded(dict(answer.headers)), path
        assert answer.headers["Cache-Control"] == "no-store", path


@pytest.fixture
def broken(settings: CrmSettings) -> Iterator[TestClient]:
    """A house with a defect that nobody has thought of: it has lost its database."""
    app = create_app(settings)
    with TestClient(app, base_url="http://posthaste.example", raise_server_exceptions=False) as client:
        database, app.state.database = app.state.database, None
        yield client
        app.state.database = database


def test_what_goes_wrong(browser: TestClient, broken: TestClient, settings: CrmSettings) -> None:
    for answer, status in (
        (browser.get("/nothing"), 404),
        (browser.put("/messages"), 405),
        (browser.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"}), 403),
        (browser.post("/messages", content=b"", headers={"Content-Length": str(largest_request(settings) + 1)}), 413),
        (browser.post("/messages", data={}), 422),
        (browser.get("/api/v1/messages?limit=x"), 422),
        (broken.get("/api/v1/messages", headers={"Authorization": "Bearer x"}), 500),
        (broken.get("/messages", headers={"Authorization": "Bearer x"}), 500),
    ):
        assert answer.status_code == status
        assert is_guarded(dict(answer.headers)), answer.url


def test_with_https_a_browser_is_told_to_stay_with_it(visitor: TestClient) -> None:
    assert "Strict-Transport-Security" not in visitor.get("/sign-in").headers
    visitor.base_url = "https://posthaste.example"
    assert visitor.get("/sign-in").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    """They would not run; who writes one should hear of it here."""
    for template in (ROOT / "crm_api").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template
        assert not re.search(r"<[^>]*\s(?:on\w+|style)=", text), template
        assert "javascript:" not in text, template
        assert "| safe" not in text, template
