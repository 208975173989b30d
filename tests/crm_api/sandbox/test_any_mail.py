"""Whatever a program sends to the sandbox is shown, by the page and by the API, as a mail client would show it."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from crm_api.auth.models import User
from crm_api.db import Database
from crm_api.sandbox.mail import ReadMail, read, read_head
from crm_api.sandbox.schemas import MailOut, MailSummary
from crm_api.sandbox.smtp import _message_id
from crm_api.sandbox.store import MAX_HEAD_BYTES, SANDBOX_FILE, NewMail, SandboxStore, StoredMail
from crm_api.settings import CrmSettings
from shared.encoded_words import decode_words, known_charset, text_of
from tests.support.lines import lines_of
from tests.support.strange_mails import MAILS


def _read(content: bytes) -> ReadMail:
    head, body = NewMail("", (), content).split()
    return read(StoredMail(1, datetime.now(UTC), "crm@example.com", ["anna@example.com"], len(content), head, body))


@pytest.mark.parametrize("name", MAILS)
def test_it_is_read_as_a_mail_client_would(name: str) -> None:
    content, meant = MAILS[name]
    mail = _read(content)
    for member, value in meant.items():
        found = [(file.filename, file.content) for file in mail.files] if member == "files" else getattr(mail, member)
        assert found == value, member
    assert MailOut.of(mail).model_dump_json()


@pytest.fixture
def store(settings: CrmSettings) -> SandboxStore:
    return SandboxStore(settings.data_dir / SANDBOX_FILE)


def test_every_page_and_every_answer_can_carry_it(
    browser: TestClient, store: SandboxStore, database: Database, user: User
) -> None:
    with database.write() as session:
        session.get_one(User, user.id).role = "admin"
    ids = store.add([NewMail("crm@example.com", ("anna@example.com",), content) for content, _ in MAILS.values()])
    for name, mail_id in zip(MAILS, ids, strict=True):
        for show in ("", "?show=html", "?show=text", "?show=headers", "?show=source"):
            assert browser.get(f"/sandbox/{mail_id}{show}").status_code == 200, name
        assert browser.get(f"/sandbox/{mail_id}/html").status_code in (200, 404), name
        assert browser.get(f"/sandbox/{mail_id}/source").status_code == 200, name
        for position in range(min(3, len(_read(MAILS[name][0]).files))):
            assert browser.get(f"/sandbox/{mail_id}/files/{position}").status_code == 200, name
    for path in ("/sandbox", "/sandbox?to=anna@example.com", f"/sandbox?before={ids[10]}"):
        assert browser.get(path).status_code == 200


def test_the_api_answers_it_too(api: TestClient, store: SandboxStore, database: Database, user: User) -> None:
    with database.write() as session:
        session.get_one(User, user.id).role = "admin"
    ids = store.add([NewMail("crm@example.com", ("anna@example.com",), content) for content, _ in MAILS.values()])
    for name, mail_id in zip(MAILS, ids, strict=True):
        assert api.get(f"/api/v1/sandbox/messages/{mail_id}").status_code == 200, name
        assert api.get(f"/api/v1/sandbox/messages/{mail_id}/raw").content == MAILS[name][0], name
    listed = api.get("/api/v1/sandbox/messages", params={"limit": 200, "to": "anna@example.com"}).json()["items"]
    assert len(listed) == len(MAILS)


PRINTABLE = [chr(code) for code in (*range(32, 127), 0xE9, 0x5C71)]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b";",
    b"=",
    b'"',
    b"'",
    b"--",
    b"--b",
    b"--b--",
    b"*",
    b"%C3",
    b"=?utf-8?q?",
    b"=?utf-8?b?",
    b"?=",
    b"Subject: ",
    b"From: ",
    b"Date: ",
    b"Content-Type: ",
    b"multipart/mixed",
    b"multipart/alternative",
    b"message/rfc822",
    b"text/plain",
    b"text/html",
    b"; boundary=b",
    b"; charset=",
    b"utf-7",
    b"utf-16",
    b"idna",
    b"undefined",
    b"unicode_escape",
    b"+2AA-",
    b"Content-Disposition: attachment",
    b"; filename*0*=",
    b"; filename=",
    b"Content-Transfer-Encoding: ",
    b"base64",
    b"quoted-printable",
    b"x-uuencode",
    b"begin 644 a\n",
    b"end\n",
    b"words",
]


@effort(max_examples=500)
@given(some.lists(some.one_of(some.sampled_from(PIECES), some.binary(max_size=20)), max_size=60))
def test_no_bytes_at_all_can_break_it(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    head, body = NewMail("", (), content).split()
    assert head + body == content
    stored = StoredMail(1, datetime.now(UTC), "crm@example.com", ["anna@example.com"], len(content), head, body)
    mail = read(stored)
    assert MailOut.of(mail).model_dump_json().encode()
    assert MailSummary.of(read_head(stored)).model_dump_json().encode()
    for text in (
        mail.subject,
        mail.sender,
        mail.to,
        mail.text or "",
        mail.html or "",
        *(it.filename for it in mail.files),
    ):
        assert "\0" not in text
        assert text.encode() is not None
    assert _message_id(content).encode() is not None


@given(some.binary(max_size=100), some.one_of(some.none(), some.text(alphabet=PRINTABLE, max_size=30)))
def test_any_bytes_in_any_character_set_are_text(content: bytes, charset: str | None) -> None:
    assert text_of(content, charset).encode() is not None
    assert decode_words(f"=?{charset}?b?{base64.b64encode(content).decode()}?=").encode() is not None


def test_every_codec_of_this_python_is_safe() -> None:
    import encodings.aliases

    for name in sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "undefined", "idna", "mbcs"}):
        for content in (b"", b"words", b"\xff\xfe\x00+2AA-\\ud800\x1b$B", bytes(range(256))):
            assert text_of(content, name).encode() is not None, name
    assert known_charset("utf-8*en") == "utf-8"


@pytest.mark.parametrize(
    "piece",
    [
        b"X: y\r\n",
        b"Subject: =?utf-8?q?a?= ",
        b"\r\n--b\r\n",
        b"\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n',
        b"begin 644 a\nend\n",
        b"end\n",
        b"begin 644 a\n",
        b'; a="',
        b";a=b",
        b"; filename*1*=x",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"\r\n",
        b" ",
        b"=",
        b"\n--x\n\n",
    ],
)
def test_work_grows_with_the_mail_and_no_faster(piece: bytes) -> None:
    """Lines of Python are counted, not seconds."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n"

    def lines(times: int) -> int:
        return lines_of(lambda: _read(head + piece * times))

    assert lines(1_600) < 10 * lines(200) + 2_000
    _read(head + piece * (2_000_000 // len(piece)))  # what only C would do too often meets the test's timeout


def test_a_list_reads_little_of_each_mail(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path / "sandbox.sqlite")
    content = b"Subject: x\r\n" + b"X: y\r\n" * 100_000
    (mail_id,) = store.add([NewMail("", ("anna@example.com",), content)])
    (listed,) = store.list()
    assert len(listed.head) == MAX_HEAD_BYTES
    assert read_head(listed).subject == "x"
    found = store.get(mail_id)
    assert found is not None
    assert found.content == content
