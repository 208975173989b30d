"""What somebody has uploaded or mailed never comes from our address as anything that a browser runs or shows."""

import base64
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.settings import CrmSettings
from crm_api.web.downloads import BYTES, download, safe_name
from crm_api.web.security import STATIC

SCRIPT = b"fetch('/api/v1/users').then(r => r.text())"
ACTIVE = [
    ("x.js", "text/javascript"),
    ("x.mjs", "application/javascript"),
    ("x.js", "application/x-javascript"),
    ("x.ecma", "application/ecmascript"),
    ("x.html", "text/html"),
    ("x.xhtml", "application/xhtml+xml"),
    ("x.svg", "image/svg+xml"),
    ("x.xml", "text/xml"),
    ("x.xsl", "text/xsl"),
    ("x.css", "text/css"),
    ("x.wasm", "application/wasm"),
    ("x.pdf", "application/pdf"),
    ("x.swf", "application/x-shockwave-flash"),
    ("x.json", "application/json"),
    ("x.manifest", "text/cache-manifest"),
    ("x.webmanifest", "application/manifest+json"),
    ("x.vtt", "text/vtt"),
    ("x.txt", "text/plain"),
    ("x.mht", "multipart/related"),
    ("x.hta", "application/hta"),
    ("x", "unknown/unknown"),
]
# routes that give out bytes of others, and where one is made for each below
DOWNLOADS = {
    "/messages/{message_id}/files/{position}/{name}",
    "/sandbox/{mail_id}/files/{position}",
    "/sandbox/{mail_id}/source",
    "/api/v1/sandbox/messages/{mail_id}/raw",
}
FRAMES = {"/messages/{message_id}/html", "/sandbox/{mail_id}/html"}


def is_inert(answer: Any) -> bool:
    head = answer.headers
    return (
        answer.status_code == 200
        and head["Content-Type"] in (BYTES, "message/rfc822")
        and head["Content-Disposition"].startswith("attachment; ")
        and head["X-Content-Type-Options"] == "nosniff"
        and head["Content-Security-Policy"] == "sandbox; default-src 'none'"
        and head["Cross-Origin-Resource-Policy"] == "same-origin"
        and head["Cache-Control"] == "no-store"
    )


def test_attachments_have_no_type(api: TestClient) -> None:
    files = [
        {"filename": name, "content": base64.b64encode(SCRIPT).decode(), "content_type": kind} for name, kind in ACTIVE
    ]
    draft = {"to": [{"email": "ada@example.com"}], "subject": "x", "text": "x", "attachments": files}
    sent = api.post("/api/v1/messages", json=draft)
    assert sent.status_code == 202, sent.text
    for position, (name, kind) in enumerate(ACTIVE):
        answer = api.get(f"/messages/{sent.json()['id']}/files/{position}/app.js")
        assert is_inert(answer), (name, kind, dict(answer.headers))
        assert answer.content == SCRIPT


def test_parts_of_mails_have_no_type(browser: TestClient, settings: CrmSettings) -> None:
    parts = "".join(
        f"--b\r\nContent-Type: {kind}\r\nContent-Disposition: inline; filename={name}\r\n\r\n{SCRIPT.decode()}\r\n"
        for name, kind in ACTIVE
        if not kind.startswith("multipart/")
    )
    mail = f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"
    store = SandboxStore(settings.data_dir / SANDBOX_FILE)
    (number,) = store.add([NewMail("crm@x.example", ("ada@x.example",), mail.encode())])
    for position in range(len(ACTIVE) - 1):
        assert is_inert(browser.get(f"/sandbox/{number}/files/{position}")), ACTIVE[position]
    for way in (f"/sandbox/{number}/source", f"/api/v1/sandbox/messages/{number}/raw"):
        assert is_inert(browser.get(way)), way


def test_no_other_route_gives_out_what_is_stored(settings: CrmSettings) -> None:
    """A new one has to use `download`, and comes into this table."""
    app: FastAPI = create_app(settings)
    words = ("file", "html", "source", "raw", "attachment", "download", "document", "image", "export")
    found = {
        one.path
        for one in iter_route_contexts(app.routes)
        if "GET" in (one.methods or ()) and any(word in one.path.replace("/sign-in", "") for word in words)
    }
    assert found == DOWNLOADS | FRAMES


@pytest.mark.parametrize("kind", ["text/javascript", "text/html", "image/png", ""])
def test_a_download_cannot_be_given_a_type(kind: str) -> None:
    with pytest.raises(ValueError, match="not inert"):
        download(b"x", "x", kind)


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("plan.pdf", "plan.pdf"),
        ("Plan für Ada.pdf", "Plan für Ada.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.exe", "x.exe"),
        ("a\r\nX: y.pdf", "a__X_ y.pdf"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ('a";filename=b', "a__filename=b".replace("__", "_;")),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("a" * 500, "a" * 200),
    ],
)
def test_names_are_safe_to_save(name: str, saved: str) -> None:
    assert safe_name(name) == saved


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("posthaste.example", "posthaste.example/static/"),
        ("POSTHASTE.example:8443", "posthaste.example:8443/static/"),
        ("127.0.0.1:8000", "127.0.0.1:8000/static/"),
        ("[::1]:8000", "'self'"),
        ("evil.example; script-src *", "'self'"),
        ("evil.example/ https:", "'self'"),
        ("*", "'self'"),
        ("", "'self'"),
    ],
)
def test_scripts_come_from_one_folder(visitor: TestClient, host: str, ours: str) -> None:
    """And a host that is none does not become part of the policy."""
    head = visitor.get("/sign-in", headers={"Host": host}).headers["Content-Security-Policy"]
    policy = dict(part.strip().split(" ", 1) for part in head.split(";"))
    assert policy["script-src"] == policy["style-src"] == ours


def test_behind_a_proxy_that_names_another_host(settings: CrmSettings) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://crm.example/"}))
    with TestClient(app, base_url="http://inside:8000") as client:
        policy = client.get("/sign-in").headers["Content-Security-Policy"]
    assert "script-src inside:8000/static/ crm.example/static/;" in policy


def test_nothing_in_that_folder_is_anybody_elses(api: TestClient) -> None:
    """No way round by dots, and no redirect: behind one a policy looks at the host alone (CSP Level 3, 7.6)."""
    file = {"filename": "x.js", "content": base64.b64encode(SCRIPT).decode()}
    draft = {"to": [{"email": "ada@example.com"}], "subject": "x", "text": "x", "attachments": [file]}
    where = f"messages/{api.post('/api/v1/messages', json=draft).json()['id']}/files/0/x.js"
    for detour in ("../", "x/../../", "..%2f", "x/..%2f..%2f", "%2e%2e/", "x/%2e%2e%2f%2e%2e/", "..%5c", "/", "x//"):
        answer = api.get(f"{STATIC}{detour}{where}")
        assert SCRIPT not in answer.content or is_inert(answer), detour
        assert answer.status_code in (200, 404), detour
