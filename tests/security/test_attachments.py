"""Attachments: size, count, kind by content, names that are made here."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_api.messages.file_types import BYTES, named_again, type_of
from crm_api.settings import CrmSettings
from shared.files import hash_of

PDF, PNG, ZIP = b"%PDF-1.7\n%\xe2\xe3", b"\x89PNG\r\n\x1a\n\0\0", b"PK\x03\x04\x14\0"
PROGRAM, ELF, PAGE = b"MZ\x90\0\x03\0", b"\x7fELF\x02\x01", b"<!doctype html><script>alert(1)</script>"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("content", "said", "kind"),
    [
        (PDF, "application/pdf", "application/pdf"),
        (PDF, "text/plain", "application/pdf"),
        (PNG, "image/jpeg", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/png", "image/webp"),
        (PAGE, "image/png", BYTES),
        (PAGE, "application/pdf", BYTES),
        (PROGRAM, "application/pdf", BYTES),
        (PROGRAM, "text/plain", BYTES),
        (ELF, "image/gif", BYTES),
        (ZIP, DOCX, DOCX),
        (ZIP, "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
        (ZIP, "application/java-archive", "application/zip"),
        (ZIP, "image/png", "application/zip"),
        (b"a;b\n1;2\n", "text/csv", "text/csv"),
        (b"\xff\xfea\0", "text/plain", "text/plain"),
        (b"a\0b", "text/csv", BYTES),
        (b"BEGIN:VCARD", "text/vcard", "text/vcard"),
        (b"\x01\x02", "application/x-cad", "application/x-cad"),
    ],
)
def test_the_content_says_what_it_is(content: bytes, said: str, kind: str) -> None:
    assert type_of(content, said) == kind


def test_naming_a_stored_file_again_makes_it_no_other_kind() -> None:
    assert named_again("text/plain", "text/csv") == "text/csv"
    assert named_again("application/zip", DOCX) == DOCX
    for said in ("application/pdf", "text/html", DOCX, "image/png"):
        assert named_again(BYTES, said) == BYTES
        assert named_again("application/x-cad", said) == "application/x-cad"


def draft(*files: dict[str, Any]) -> dict[str, Any]:
    to = [{"email": "ada@example.com"}]
    return {"to": to, "subject": "Plans", "text": "Here they are.", "attachments": list(files)}


def file(content: bytes, filename: str = "plan.pdf", **more: str) -> dict[str, Any]:
    return {"filename": filename, "content": base64.b64encode(content).decode(), **more}


def test_a_page_that_calls_itself_a_picture_is_bytes_on_its_whole_way(api: TestClient) -> None:
    sent = api.post("/api/v1/messages", json=draft(file(PAGE, "cat.png", content_type="image/png")))
    assert [each["content_type"] for each in sent.json()["attachments"]] == [BYTES]
    uploaded = api.post("/api/v1/files", files={"file": ("cat.png", PAGE, "image/png")}).json()
    assert uploaded["content_type"] == BYTES
    again = {"filename": "cat.png", "sha256": uploaded["sha256"], "content_type": "image/png"}
    sent = api.post("/api/v1/messages", json=draft(again)).json()
    assert [each["content_type"] for each in sent["attachments"]] == [BYTES]


def test_a_download_is_never_opened_by_the_browser(api: TestClient) -> None:
    sent = api.post("/api/v1/messages", json=draft(file(PAGE, "page.html", content_type="text/html"))).json()
    answer = api.get(f"/messages/{sent['id']}/files/0/page.html")
    assert answer.content == PAGE
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_only_so_many_and_only_so_much(api: TestClient, settings: CrmSettings) -> None:
    assert api.post("/api/v1/messages", json=draft(*[file(b"x", "a.txt")] * 51)).status_code == 422
    assert api.post("/api/v1/messages", json=draft(*[file(b"x", "a.txt")] * 50)).status_code == 202
    large = b"x" * (settings.max_attachment_bytes + 1)
    assert api.post("/api/v1/messages", json=draft(file(large, "a.txt"))).status_code == 413
    each = b"x" * settings.max_attachment_bytes
    two, three = [file(each, "a.txt")] * 2, [file(each, "a.txt")] * 3
    assert api.post("/api/v1/messages", json=draft(*two)).status_code == 202
    assert api.post("/api/v1/messages", json=draft(*three)).status_code == 413


NAMES = [
    "../../etc/passwd",
    "..\\x",
    "a/b",
    "C:x",
    "a\0.pdf",
    "a\r\nX: y.pdf",
    "a\n.pdf",
    "\x7f",
    " ",
    "x" * 201,
    '"',
    "a|b",
    "..",
    ". .",
    "invoice\u202efdp.exe",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none(api: TestClient, settings: CrmSettings, name: str) -> None:
    assert api.post("/api/v1/messages", json=draft(file(b"x", name))).status_code == 422


def test_what_is_stored_is_called_by_its_hash(api: TestClient, settings: CrmSettings) -> None:
    """Nothing that a sender writes becomes part of a path."""
    for name in ("plan.pdf", ".htaccess", "con", "x" * 200, "ÅÄÖ 日本.pdf"):
        api.post("/api/v1/files", files={"file": (name, name.encode(), "text/plain")})
        api.post("/api/v1/messages", json=draft(file(name.encode(), name)))
    stored = [path.relative_to(settings.files_dir) for path in settings.files_dir.rglob("*") if path.is_file()]
    assert len(stored) == 5
    assert all(re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{62}", str(path)) for path in stored)
    for path in stored:
        assert hash_of((settings.files_dir / path).read_bytes()) == str(path).replace("/", "")
    assert {path.parent for path in Path(settings.files_dir).parent.rglob("plan.pdf")} == set()
