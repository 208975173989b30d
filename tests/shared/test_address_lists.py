"""Pasted lists of addresses. The same cases are read by the browser: tests/browser/test_address_lists.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.address_lists import Entry, address_list
from shared.header_text import lenient_line
from shared.mailboxes import format_mailbox
from tests.support.lines import lines_of

CASES = json.loads((Path(__file__).parents[1] / "address_lists.json").read_text())["cases"]


def shown(entries: list[Entry]) -> list[Any]:
    return [[entry.name, entry.address] if entry.address else entry.text for entry in entries]


@pytest.mark.parametrize(("text", "entries"), CASES, ids=[repr(text)[:60] for text, _ in CASES])
def test_a_list_is_read(text: str, entries: list[Any]) -> None:
    assert shown(address_list(text)) == entries


@given(some.lists(some.text(), max_size=5))
def test_names_written_by_us_are_read_back(names: list[str]) -> None:
    clean = [lenient_line(name) for name in names]
    clean = [name for name in clean if name and address_list(f'"{name}" <x@example.com>')[0].name == name]
    text = "; ".join(format_mailbox(name, f"a{at}@example.com") for at, name in enumerate(clean))
    assert [(it.name, it.address) for it in address_list(text)] == [
        (name, f"a{at}@example.com") for at, name in enumerate(clean)
    ]


@given(some.text(alphabet="ab@.,;:<>()[]\"'“”‘’\\ \t\n=?_mailto", max_size=60))
def test_no_text_breaks_it_and_no_address_gets_lost(text: str) -> None:
    entries = address_list(text)
    assert all(bool(entry.address) != bool(entry.text) for entry in entries)
    lonely = address_list(f"ida@example.com;{text}")
    assert lonely[0].address == "ida@example.com" or '"' in text or "'" in text


PIECES = (
    *("Ida Holt <ida@example.com>, ", "Holt, ", '"', "'a, ", '\\"', "(", "( a )", "((", "<", "<a", "a@b <", "“", "„a "),
    *("mailto:", "mailto:a@b,", "mailto:a?", "[mailto:", "=?utf-8?q?", "=?utf-8?q?a?= ", ":", "a:", "\t", "\n", "\n "),
    *("@", "a@", ";", ">", "‘a", "«", "\\", "a (b", "van der ", "a", "a,b c,"),
)


@pytest.mark.parametrize("piece", PIECES)
def test_work_grows_with_the_text_and_no_faster(piece: str) -> None:
    """Lines of Python are counted, not seconds: eight times the text takes no more than ten times as many."""

    def lines(times: int) -> int:
        return lines_of(lambda: address_list(piece * times))

    assert lines(1_600) < 10 * lines(200) + 500
    address_list(piece * 20_000)  # what only C would do too often meets the test's timeout
