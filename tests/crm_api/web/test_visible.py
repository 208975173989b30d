"""Texts of others are shown for what they are, on every page; what is edited or followed stays as it is."""

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_api.audit.csv_file import safe
from crm_api.web.visible import visible, visible_page
from tests.support.crm import Crm

RLO = "\u202e"
APPLE = "\u0430\u0440\u0440\u04cf\u0435.com"  # Cyrillic


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ida Holt", "Ida Holt"),
        (f"invoice{RLO}gpj.exe", "invoice[U+202E]gpj.exe"),
        ("a\u2066b\u2069c", "a[U+2066]b[U+2069]c"),
        ("\u200fx\u061c", "[U+200F]x[U+061C]"),
        ("pay\u200bpal", "pay[U+200B]pal"),
        ("\u3164", "[U+3164]"),
        ("a\x1b[31mb\x85", "a[U+001B][31mb[U+0085]"),
        ("line\none\ttab", "line\none\ttab"),
        ("P\u0430ypal", "P\u0430ypal [Cyrillic and Latin letters]"),
        ("G\u03bf\u03bfgle Mail", "G\u03bf\u03bfgle [Greek and Latin letters] Mail"),
        ("Иван Петров", "Иван Петров"),
        ("Ελένη", "Ελένη"),
        ("iPhone-чехол", "iPhone-чехол"),
        ("Åsa Öberg, Žofie, Nguyễn", "Åsa Öberg, Žofie, Nguyễn"),
        ("田中さん T\u30b7\u30e3\u30c4", "田中さん T\u30b7\u30e3\u30c4"),
        ("👩\u200d🌾 نامه\u200cها", "👩\u200d🌾 نامه\u200cها"),
        ("ida@bücher.example", "ida@bücher.example (xn--bcher-kva.example)"),
        (
            "an ida@\u0430\u0440\u0440\u04cf\u0435.com.",
            "an ida@\u0430\u0440\u0440\u04cf\u0435.com. (xn--80ak6aa92e.com)",
        ),
        (
            "https://\u0430\u0440\u0440\u04cf\u0435.com/x",
            "https://\u0430\u0440\u0440\u04cf\u0435.com/x (xn--80ak6aa92e.com)",
        ),
        ("привет.как дела", "привет.как дела"),
        ("550 5.1.1 <ada@example.com>: no such user", "550 5.1.1 <ada@example.com>: no such user"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible_page(f"<p>{text}</p>") == f"<p>{shown}</p>" or "<" in text


def test_what_is_edited_and_followed_stays() -> None:
    kept = f'<input value="{RLO}x"><a href="/{RLO}" data-name="{RLO}">'
    assert visible_page(f"{kept}<textarea name=a>\n{RLO}P\u0430y</textarea>") == (
        f"{kept}<textarea name=a>\n{RLO}P\u0430y</textarea>"
    )
    assert visible_page(f'<b title="{RLO}" aria-label="Remove {RLO}">') == (
        '<b title="[U+202E]" aria-label="Remove [U+202E]">'
    )


NAME = f"Ida{RLO}tloH"
SUBJECT = f"Your invoice{RLO}fdp.exe"


def shown_parts(html: str) -> str:
    """Without what is edited or sent back."""
    without = re.sub(r"<textarea\b.*?</textarea>", "", html, flags=re.DOTALL)
    return re.sub(r'\s(?:value|data-[\w-]+|href|action|formaction|hx-[\w-]+)="[^"]*"', "", without)


def test_every_page_that_shows_it(browser: TestClient, crm: Crm) -> None:
    """Names, subjects, replies of servers; in lists, titles, toasts and fragments."""
    customer = crm.customer(first_name=NAME, company=f"P\u0430ypal{RLO}", email="ada@xn--80ak6aa92e.com")
    message = crm.send(subject=SUBJECT, to=[{"customer_id": str(customer.id)}])
    delivery = crm.delivery(message.id)
    with crm.database.write() as session:
        row: Any = session.merge(delivery)
        row.reply, row.reason, row.state = f"550 {RLO}no", f"said {RLO}no", "failed"
    pages = ["/customers", f"/customers/{customer.id}", f"/customers/{customer.id}/edit", "/customers/suggest?q=ida"]
    pages += ["/messages", f"/messages/{message.id}", f"/messages/new?from={message.id}", "/search?q=ada", "/audit"]
    for page in pages:
        answer = browser.get(page)
        assert answer.status_code == 200, page
        assert RLO not in shown_parts(answer.text), page
    assert "[U+202E]" in browser.get(f"/messages/{message.id}").text
    told = browser.get(f"/api/v1/messages/{message.id}")
    assert told.json()["subject"] == SUBJECT, "programs get it as it is"
    answer = browser.post(f"/messages/{message.id}/cancel")
    assert RLO not in shown_parts(answer.text)


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", "\u200b=1+1", "\ufeff=HYPERLINK(1)", f"{RLO}=1", "\u00a0=1", "\x1f+1", "\u2003@SUM(A1)", "\u00ad-1"),
        *("\n=1", " \t=1", "\u2028=1"),
    ],
)
def test_a_formula_behind_what_cannot_be_seen(cell: str) -> None:
    assert safe(cell).startswith("'")
    assert not safe(f"x{cell}").startswith("'")


def test_a_cell_is_visible() -> None:
    assert safe(f"a{RLO}b") == "a[U+202E]b"
    assert json.loads(safe(json.dumps({"to": "ada"}))) == {"to": "ada"}
