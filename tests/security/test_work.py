"""How much work is made of what somebody sends: twice as long a text takes about twice the work, whatever is in it.

Counted are lines and calls of Python, not seconds; what the C library does in one call is linear by itself or bounded
by the length that the door lets in.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from crm_api.customers.checks import clean_note, clean_tags
from crm_api.customers.words import fold, needed_words, words_of
from crm_api.messages.finding import _ways
from crm_api.messages.markdown import parts_of
from crm_api.preconditions import Condition
from shared.address_lists import address_list
from shared.fields import Template
from shared.html_fields import HtmlTemplate
from shared.mailboxes import parse_mailbox

MOST_TIMES = 3.0  # of the work for twice the length; quadratic would be four
UNITS = (
    "[", "*", "**a", "_a ", "> ", "- ", "`", "|", "\n|a|b|\n|-|-|\n", "![](", "<", "&#", "{{", "{{ x }}", "\\", "~~",
    "1. ", "[a](", "[a]: ", '"', ",", ";", "@", "a@", "<a@b.c>", '"a" <', "(a", "a,", "x@y.z,", "=\n", "a ", "\u3042 ",
    "\ufdfa", "e\u0301", "\u0345", "\t", " \t", '<p a="b">', "<a b=", "<pre>", "<!--", "<style>",
)  # fmt: skip


def words_in_words(length: int) -> str:
    """a, aa, aaa, …: each begins all that follow."""
    return " ".join("a" * (1 + number % 38) + f"{number}" for number in range(length // 20))


# what reads it → characters of the shorter text
READERS: dict[str, tuple[Callable[[str], Any], int]] = {
    "addresses": (address_list, 2000),
    "one address": (parse_mailbox, 500),
    "fields": (Template, 4000),
    "fields in HTML": (lambda text: HtmlTemplate(text + "{{ x }}"), 4000),
    "markdown": (parts_of, 1000),
    "words that are looked for": (needed_words, 4000),
    "words of a message": (_ways, 4000),
    "words that are kept": (lambda text: words_of([text]), 2000),
    "a folded name": (fold, 2000),
    "a note": (clean_note, 4000),
    "tags": (lambda text: clean_tags(text.split(",")), 4000),
    "entity tags": (Condition, 4000),
}


def work(read: Callable[[str], Any], text: str) -> int:
    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(*_: Any) -> None:
        nonlocal count
        count += 1

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        with contextlib.suppress(ValueError, Exception):
            read(text)
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    return count


@pytest.mark.parametrize("name", READERS)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    read, length = READERS[name]
    texts = {unit: (unit * length)[:length] for unit in UNITS} | {"words in words": words_in_words(length)}
    twice = {unit: (unit * 2 * length)[: 2 * length] for unit in UNITS} | {"words in words": words_in_words(2 * length)}
    work(read, "warm")  # what is made once
    times = {unit: work(read, twice[unit]) / max(work(read, texts[unit]), 300) for unit in texts}
    assert {unit: round(each, 1) for unit, each in times.items() if each > MOST_TIMES} == {}


def test_a_letter_in_html_costs_hardly_more_than_one_in_text() -> None:
    page = '<tr><td class="x">A line of it</td></tr>\n' * 200
    work(HtmlTemplate, page)  # what is made once
    for source in (page, f"{page}<p>Dear {{{{ name }}}},</p>{page}"):
        assert work(HtmlTemplate, source) < work(Template, source) + 200


def test_what_counts_would_find_a_quadratic_one() -> None:
    def slow(text: str) -> int:
        return sum(1 for one in text for other in text if one == other)

    assert work(slow, "x" * 200) / work(slow, "x" * 100) > MOST_TIMES
