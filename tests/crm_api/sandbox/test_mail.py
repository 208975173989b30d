"""Reading mails, well-formed and not."""

from datetime import UTC, datetime
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from crm_api.sandbox.mail import ReadMail, read, read_head
from crm_api.sandbox.schemas import MailOut
from crm_api.sandbox.store import NewMail, StoredMail


def _stored(content: bytes) -> StoredMail:
    head, body = NewMail("", (), content).split()
    return StoredMail(1, datetime.now(UTC), "crm@example.com", ["anna@example.com"], len(content), head, body)


def _read(content: bytes) -> ReadMail:
    return read(_stored(content))


def test_a_whole_letter_is_taken_apart() -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße aus Göteborg"
    message["From"] = "Märta <crm@example.com>"
    message["To"] = "Анна <anna@example.com>"
    message["Date"] = "Sat, 21 Nov 2026 01:00:00 +0000"
    message.set_content("Hej Анна\n")
    message.add_alternative("<p>Hej <b>Анна</b></p>\n", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Plänen.pdf")
    mail = _read(message.as_bytes().replace(b"\n", b"\r\n"))
    assert (mail.subject, mail.sender, mail.to) == (
        "Grüße aus Göteborg",
        "Märta <crm@example.com>",
        "Анна <anna@example.com>",
    )
    assert mail.date == datetime(2026, 11, 21, 1, tzinfo=UTC)
    assert mail.text == "Hej Анна\n"
    assert mail.html == "<p>Hej <b>Анна</b></p>\n"
    assert [(file.filename, file.content_type, file.content) for file in mail.files] == [
        ("Plänen.pdf", "application/pdf", b"%PDF")
    ]


def test_a_mail_without_a_header_is_shown_by_its_envelope() -> None:
    mail = _read(b"\r\nonly words\r\n")
    assert (mail.subject, mail.sender, mail.to) == ("", "crm@example.com", "anna@example.com")
    assert mail.text == "only words\n"
    assert mail.date is None


def test_what_is_wrong_does_not_stop_the_page() -> None:
    mail = _read(
        b"Subject: =?utf-8?q?broken?\r\nSubject: =?nonsense?q?x?=\r\nDate: someday\r\n"
        b"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n####\r\n"
    )
    assert mail.subject == "=?utf-8?q?broken?"
    assert mail.date is None
    assert isinstance(mail.text, str)


@given(st.binary(max_size=400), st.sampled_from(
    [b"", b"Subject: ", b"Date: ", b"From: ", b"Content-Type: ", b"Content-Disposition: attachment; filename*=",
     b"Content-Type: multipart/mixed; boundary=", b"Content-Transfer-Encoding: "]
))  # fmt: skip
def test_no_bytes_at_all_can_break_it(noise: bytes, start: bytes) -> None:
    mail = _stored(start + noise)
    assert MailOut.of(read(mail)).model_dump_json()
    assert read_head(mail).subject == read(mail).subject
