"""Pasted lists of addresses, as the browser reads them: the cases of tests/shared/test_address_lists.py."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from crm_api.web import static_files
from shared.mailboxes import format_mailbox
from tests.support.pages import Visitor

CASES = json.loads((Path(__file__).parents[1] / "address_lists.json").read_text())["cases"]
STATIC = Path(static_files.__file__).parent / "static"
SCRIPT = "".join((STATIC / name).read_text() for name in ("address_tokens.js", "addresses.js"))
READ = """texts => texts.map((text) => Addresses.list(text)
          .map((entry) => entry.address ? [entry.name, entry.address] : entry.text))"""
NAMES = [
    "Ida",
    "Holt, Ida",
    'Ida "Pip" Holt',
    "Göran",
    "O'Brien",
    "'Ida'",
    "a\\b",
    "=",
    "Ida  Holt",
    "=?utf-8?q?x?=",
    "-",
]


def _ask(browser: Browser, question: str, given: Any) -> Any:
    page = browser.new_page()
    try:
        page.evaluate(f"globalThis.Addresses = (() => {{ {SCRIPT}; return Addresses; }})()")
        return page.evaluate(question, given)
    finally:
        page.close()


def test_the_browser_reads_a_list_as_the_server_does(browser: Browser) -> None:
    found = _ask(browser, READ, [text for text, _ in CASES])
    wrong = [(text, meant, read) for (text, meant), read in zip(CASES, found, strict=True) if meant != read]
    assert wrong == []


def test_the_browser_writes_a_name_as_the_server_does(browser: Browser) -> None:
    mailboxes = [{"name": name, "address": "ida@example.com"} for name in NAMES]
    assert _ask(browser, "all => all.map(Addresses.format)", mailboxes) == [
        format_mailbox(name, "ida@example.com") for name in NAMES
    ]


def test_a_very_long_list_is_read_at_once(browser: Browser) -> None:
    """Twenty thousand of everything; what grew faster than the text would meet the test's timeout."""
    pieces = ["Ida Holt <ida@example.com>, ", "Holt, ", '"', "'a, ", "(", "((", "<a", "mailto:a@b,", "a:", "\n ", "“"]
    question = "pieces => pieces.map((piece) => Addresses.list(piece.repeat(20000)).length)"
    assert _ask(browser, question, pieces)[0] == 20_000


PASTE = """([text]) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const field = document.querySelector("#to-typed");
  field.focus();
  field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
}"""


def test_a_list_is_pasted(visitor: Visitor) -> None:
    with visitor.page("/messages/new") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/recipient" in request.url else None)
        page.evaluate(
            PASTE, ['"Holt, Ida" <ida@example.com>\nEk, Bo <bo@example.org>\nBerg\tRut\trut@example.net\nwho?\n']
        )
        chips = page.locator("[data-chip] > span")
        expect(chips).to_have_text(["Holt, Ida", "Ek, Bo", "Berg Rut"])
        expect(page.locator("#to-typed")).to_have_value("who?")
        page.locator("#to-typed").fill("")
        page.evaluate(PASTE, ["Ida <IDA@example.com>, tom@example.com"])
        expect(chips).to_have_text(["Holt, Ida", "Ek, Bo", "Berg Rut", "tom@example.com"])
        assert len(asked) == 2, "one request for a list, however long it is"
        assert page.locator("[data-chip] input").first.get_attribute("value") == 'email:"Holt, Ida" <ida@example.com>'


def test_five_hundred_are_pasted_and_the_last_word_is_looked_up(visitor: Visitor) -> None:
    with visitor.page("/messages/new") as page:
        page.evaluate(PASTE, ["; ".join(f"Holt, Ida {n} <ida-{n}@example.com>" for n in range(500))])
        expect(page.locator("[data-chip]")).to_have_count(500, timeout=60_000)
        expect(page.locator("[data-chip]").last).to_contain_text("Holt, Ida 499")
        page.locator("#to-typed").press_sequentially("one@example.com, lindq")
        page.get_by_role("option", name="Marta Lindqvist").click()
        expect(page.locator("[data-chip]").last).to_contain_text("Marta Lindqvist")
        expect(page.locator("[data-chip]")).to_have_count(502)
        expect(page.locator("#to-typed")).to_have_value("")
