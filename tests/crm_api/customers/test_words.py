"""Folding, words and prefixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.customers.words import MAX_WORD, end_of, fold, query_words, words_of

TEXT = st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Müller-LÜDENSCHEIDT ", "muller-ludenscheidt"),
        ("Straße", "strasse"),
        ("Łódź  Østerbro", "lodz osterbro"),
        ("İstanbul", "istanbul"),
        ("Ελένη Παπαδοπούλου", "ελενη παπαδοπουλου"),
        ("Nguyễn", "nguyen"),
        ("ﬁﬂ", "fifl"),
        ("", ""),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(TEXT)
def test_folding_twice_is_folding_once_and_case_does_not_matter(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(text.casefold()) == fold(text)


@given(st.lists(TEXT, max_size=4))
def test_whoever_has_a_text_is_found_by_the_beginning_of_each_of_its_words(texts: list[str]) -> None:
    words = words_of(texts)
    assert all(0 < len(word) <= MAX_WORD for word in words)
    for text in texts:
        for asked in query_words(text):
            for length in range(1, len(asked) + 1):
                assert any(word.startswith(asked[:length]) for word in words)


@given(st.text(min_size=1, max_size=10), st.text(max_size=10))
def test_a_range_of_bytes_is_a_prefix(prefix: str, rest: str) -> None:
    """As both databases compare: UTF-8, byte by byte."""
    after = end_of(prefix)
    assert prefix.encode("utf-8") <= (prefix + rest).encode("utf-8") < after.encode("utf-8")


@given(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=8))
def test_nothing_else_is_in_the_range(prefix: str, other: str) -> None:
    inside = prefix.encode() <= other.encode() < end_of(prefix).encode()
    assert inside == other.startswith(prefix)


def test_scripts_without_spaces_are_found_from_each_character() -> None:
    assert {"田中恵美", "中恵美", "恵美"} <= words_of(["田中恵美"])
    assert query_words("美") == ["美"]


def test_a_query_keeps_what_tells_most() -> None:
    assert query_words("Demir d. GmbH & Co") == ["demir", "gmbh", "co"]
    assert query_words("a b c") == ["a", "b"]
    assert query_words("!? - …") == []
