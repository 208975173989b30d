import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.addresses import BadAddress
from shared.header_text import BadHeader, lenient_line, one_line
from shared.mailboxes import format_mailbox, parse_mailbox


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("help@example.com", "", "help@example.com"),
        ("<help@example.com>", "", "help@example.com"),
        (' "Support" <help@Example.com> ', "Support", "help@example.com"),
        ("Support <help@example.com>", "Support", "help@example.com"),
        ('"Holt, Ida" <ida@example.com>', "Holt, Ida", "ida@example.com"),
        ("Holt, Ida <ida@example.com>", "Holt, Ida", "ida@example.com"),
        (r'"Ida \"Pip\" Holt" <ida@example.com>', 'Ida "Pip" Holt', "ida@example.com"),
        ('"<b@example.com>, c" <ida@example.com>', "<b@example.com>, c", "ida@example.com"),
        ("ida@example.com <ida@example.com>", "", "ida@example.com"),
        ("ida@example.com (Ida Holt)", "Ida Holt", "ida@example.com"),
        ('" " <ida@example.com>', "", "ida@example.com"),
        ('"  Ida" <ida@example.com>', "Ida", "ida@example.com"),
        ("=?utf-8?q?Ida=09Holt?= <ida@example.com>", "Ida Holt", "ida@example.com"),
        ("Jürgen\tÅ <j@bücher.example>", "Jürgen Å", "j@bücher.example"),
    ],
)
def test_a_name_may_stand_before_an_address(text: str, name: str, address: str) -> None:
    assert parse_mailbox(text) == (name, address)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "whole address"),
        ("Support", "whole address"),
        ("Support <help>", "whole address"),
        ("help@example.com>", "missing"),
        ("a@example.com, b@example.com", "several"),
        ("Ida <a@example.com>; Bo <b@example.com>", "several"),
        ("Support <help@example.com", "missing"),
        ("Support\r\nBcc: eve@example.com <help@example.com>", "line break"),
        ("=?utf-8?q?Sup=00port?= <help@example.com>", "NUL"),
        ("=?utf-8?b?U3VwAXBvcnQ=?= <help@example.com>", "control character"),
        ("help@example.com (=?utf-8?q?Sup=1Bport?=)", "control character"),
    ],
)
def test_what_is_not_one_mailbox_is_refused_in_words(text: str, sentence: str) -> None:
    with pytest.raises(BadAddress, match=sentence):
        parse_mailbox(text)


@given(some.text())
def test_any_name_comes_back(name: str) -> None:
    try:
        name = one_line(name)
    except BadHeader:
        name = lenient_line(name)
    assert parse_mailbox(format_mailbox(name, "ida@example.com")) == (name, "ida@example.com")


@pytest.mark.parametrize("white", ["\t", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", " \t "])
def test_white_space_that_nobody_sees_becomes_a_space(white: str) -> None:
    assert one_line(f"Your{white}quote{white}") == "Your quote"


@pytest.mark.parametrize("bad", ["\r\n", "\n", "\r", "\0", "\x07", "\x1b", "\x7f", "\x80", "\x9f", "\ud800"])
def test_what_cannot_stand_in_a_header_is_refused_and_left_out_of_old_rows(bad: str) -> None:
    with pytest.raises(BadHeader, match="“Your quote”"):
        one_line(f"Your quote{bad}!")
    assert lenient_line(f"Your quote{bad}!") in ("Your quote!", "Your quote !")


@given(some.text())
def test_what_is_clean_stays_so(text: str) -> None:
    clean = lenient_line(text)
    assert one_line(clean) == lenient_line(clean) == clean
