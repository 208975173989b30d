"""The table of the design as a function; test_smtp.py has the same with real conversations."""

import pytest

from email_service.outcome import clean, of_break, of_reply, queue_id


@pytest.mark.parametrize(
    ("phase", "code", "text", "kind", "extra"),
    [
        ("greeting", 554, "5.7.1 Go away", "deferred", "unreachable"),
        ("ehlo", 550, "Not you", "deferred", "unreachable"),
        ("tls", 454, "4.7.0 TLS not available", "deferred", "pause"),
        ("auth", 535, "5.7.8 Wrong", "deferred", "pause"),
        ("auth", 454, "4.7.0 Temporary", "deferred", "pause"),
        ("mail", 530, "5.7.0 Authentication required", "deferred", "pause"),
        ("mail", 552, "5.3.4 Too big", "failed", None),
        ("mail", 451, "4.3.0 Trouble", "deferred", None),
        ("rcpt", 552, "5.2.2 Over quota", "deferred", None),
        ("rcpt", 550, "5.1.1 No such user", "failed", "suppress"),
        ("rcpt", 550, "5.7.1 Not wanted", "failed", None),
        ("rcpt", 551, "User not local", "failed", None),
        ("rcpt", 553, "Bad name", "failed", None),
        ("rcpt", 450, "4.2.0 Greylisted", "deferred", None),
        ("rcpt", 421, "4.3.2 Closing", "deferred", "slow_down"),
        ("rcpt", 199, "?", "deferred", None),
        ("data", 554, "5.5.1 No valid recipients", "failed", None),
        ("dot", 552, "5.3.4 Too big", "failed", None),
        ("dot", 554, "5.7.1 Spam", "failed", None),
        ("dot", 451, "4.3.0 Later", "deferred", None),
        ("dot", 421, "4.3.0 Closing", "deferred", "slow_down"),
        ("dot", 250, "2.0.0 Ok", "accepted", None),
        ("dot", 354, "What", "unknown", None),
    ],
)
def test_a_reply_is_classified(phase: str, code: int, text: str, kind: str, extra: str | None) -> None:
    verdict = of_reply(phase, code, text)
    assert verdict.kind == kind
    for flag in ("unreachable", "pause", "suppress", "slow_down"):
        assert bool(getattr(verdict, flag)) == (flag == extra), flag
    assert verdict.reason.endswith(".")
    assert (verdict.code, verdict.phase) == (code, phase)


@pytest.mark.parametrize(
    ("phase", "code", "text", "suppress"),
    [
        ("rcpt", 550, "5.1.1 <ida@example.com>: Recipient address rejected: User unknown", True),
        ("rcpt", 550, "5.1.1 The email account that you tried to reach does not exist.\nTry again", True),
        ("rcpt", 551, "5.1.1 moved", True),
        ("dot", 550, "5.1.1 No such user", True),
        # said of us, or of nobody yet
        ("mail", 550, "5.1.1 User unknown", False),
        ("mail", 553, "5.1.1 No such user", False),
        ("rset", 550, "5.1.1 No such user", False),
        ("ehlo", 550, "5.1.1 No such user", False),
        ("greeting", 550, "5.1.1 No such user", False),
        ("auth", 550, "5.1.1 No such user", False),
        ("tls", 550, "5.1.1 No such user", False),
        ("data", 550, "5.1.1 No such user", False),
        ("rcpt", 550, "5.1.1 <crm@posthaste.example>: Sender address rejected: User unknown", False),
        ("dot", 550, "5.1.1 Envelope-from address does not exist", False),
        # not said of the mailbox, or not for good
        ("rcpt", 450, "5.1.1 unverified", False),
        ("rcpt", 550, "4.1.1 unverified", False),
        ("rcpt", 552, "5.1.1 full", False),
        ("rcpt", 530, "5.1.1 sign in first", False),
        ("rcpt", 550, "5.1.8 Bad sender", False),
        ("rcpt", 550, "5.1.10 Null MX", False),
        ("rcpt", 550, "5.7.1 see 5.1.1", False),
        ("rcpt", 550, "5.1.11 unknown", False),
        ("rcpt", 550, "No such user", False),
    ],
)
def test_an_address_is_given_up_only_for_what_is_said_of_it(phase: str, code: int, text: str, suppress: bool) -> None:
    assert of_reply(phase, code, text).suppress is suppress


ABOUT_THE_RECIPIENT = ("mailbox", "this address", "the address", "The person")


@pytest.mark.parametrize(
    "text",
    ["", *(f"5.{subject}.{detail} no" for subject in (1, 2, 3, 4, 5, 6, 7) for detail in (0, 1, 2, 3, 4, 6, 7, 8, 10))],
)
@pytest.mark.parametrize("code", [421, 450, 451, 452, 501, 503, 550, 551, 552, 553, 554])
def test_what_is_said_to_mail_is_said_of_the_sender(code: int, text: str) -> None:
    reason = of_reply("mail", code, text.replace("5.", f"{code // 100}.", 1)).reason
    assert reason.endswith(".")
    assert not any(words in reason.replace("our own mailbox", "") for words in ABOUT_THE_RECIPIENT), reason


@pytest.mark.parametrize("code", [550, 551, 553, 554])
@pytest.mark.parametrize("phase", ["data", "dot"])
def test_a_refused_message_is_not_called_a_refused_address(phase: str, code: int) -> None:
    assert of_reply(phase, code, "no").reason == "Their server refuses the letter."


def test_a_sender_that_is_refused_at_rcpt_is_called_so() -> None:
    for text in ("5.1.1 Sender address rejected: User unknown", "Sender unknown"):
        assert of_reply("rcpt", 550, text).reason == "Their server does not accept our sender address."


@pytest.mark.parametrize("what", ["timeout", "closed", "garbage"])
@pytest.mark.parametrize("phase", ["connect", "greeting", "ehlo", "tls", "auth", "mail", "rcpt", "data", "dot"])
def test_a_break_is_unknown_only_after_the_dot(phase: str, what: str) -> None:
    assert of_break(phase, what).kind == ("unknown" if phase == "dot" else "deferred")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("2.0.0 Ok: queued as 4F2A11C0B7", "4F2A11C0B7"),
        ("OK id=1rAbCd-0004Xy-2K", "1rAbCd-0004Xy-2K"),
        ("2.0.0 3AL5x0Qw012345 Message accepted for delivery", "3AL5x0Qw012345"),
        ("2.6.0 <a@b> [InternalId=6184752, Hostname=x] Queued mail for delivery", "6184752"),
        ("2.0.0 OK  1700000000 a1-b2 - gsmtp", None),
        ("Ok 0100018c1a2b3c4d-5e6f-000000", "0100018c1a2b3c4d-5e6f-000000"),
        ("2.0.0 Ok", None),
    ],
)
def test_the_servers_queue_id_is_found(reply: str, expected: str | None) -> None:
    assert queue_id(reply) == expected


def test_a_servers_words_can_be_stored_whatever_they_are() -> None:
    raw = (b"\x00\x1b[31m \xff\xfe" + b"x" * 5000).decode("utf-8", "surrogateescape")
    text = clean(raw)
    text.encode()
    assert len(text) == 1000
    assert "\0" not in text
    assert "\x1b" not in text


def test_reasons_are_sentences_for_a_person() -> None:
    assert of_reply("rcpt", 450, "4.7.1 Greylisted, come back").reason == (
        "Their server asks us to wait (greylisting)."
    )
    assert of_reply("rcpt", 550, "5.1.1 unknown").reason == "There is no such mailbox."
    assert of_reply("rcpt", 452, "4.2.2 full").reason == "The mailbox is full."
