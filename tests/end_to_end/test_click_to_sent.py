"""What the issue is about: a person clicks Send message, is told at once, and sees it become sent by itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.pages import FLAGS
from tests.support.stack import EMAIL, PASSWORD

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Product

SECONDS = 1000  # Playwright counts in milliseconds


@pytest.fixture
def page(product: "Product", chromium_path: str) -> Iterator[Page]:
    """Signed in as the administrator; the test fails if the page was ever loaded anew behind its back."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        page = browser.new_page(base_url=product.stack.url)
        page.set_default_timeout(60 * SECONDS)
        page.goto("/sign-in")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/customers")
        yield page
        browser.close()


def write(page: Page, subject: str, text: str) -> None:
    page.get_by_label("Subject").fill(subject)
    page.get_by_label("Text", exact=True).fill(text)


def stays(page: Page) -> None:
    """Marks the document, to tell later that it was never loaded again."""
    page.evaluate("window.neverReloaded = true")


def stayed(page: Page) -> bool:
    return bool(page.evaluate("window.neverReloaded === true"))


def test_a_message_to_a_sample_customer_turns_to_sent_without_a_reload(product: "Product", page: Page) -> None:
    page.get_by_role("link", name="Marta Lindqvist").click()
    page.wait_for_url("**/customers/*")
    stays(page)
    write(page, "Your saplings leave on Thursday", "Dear {{ first_name }},\n\nthey are **wrapped**.")
    expect(page.get_by_role("article").get_by_text("Marta", exact=True)).to_be_visible(timeout=30 * SECONDS)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Queued for delivery")).to_be_visible(timeout=30 * SECONDS)
    # the undo window is over, it goes out, and the customer's own time line says so
    line = page.locator("li.is-accepted", has_text="Your saplings leave on Thursday")
    expect(line).to_be_visible(timeout=60 * SECONDS)
    assert stayed(page)

    line.get_by_role("link", name="Your saplings leave on Thursday").click()
    expect(page.get_by_text("Sent.")).to_be_visible(timeout=30 * SECONDS)

    page.get_by_role("link", name="Sandbox inbox").click()
    page.get_by_role("link", name="Your saplings leave on Thursday").first.click()
    expect(page.frame_locator("iframe").get_by_text("they are wrapped.").first).to_be_visible(timeout=30 * SECONDS)


def test_the_messages_page_follows_a_letter_by_itself(product: "Product", page: Page) -> None:
    page.goto("/messages")
    stays(page)
    with product.stack.api() as api:
        api.post(
            "/api/v1/messages",
            json={"to": [{"email": "smtp-550@example.com"}], "subject": "Watched from afar", "text": "Hello"},
        )
    row = page.get_by_role("row", name="Watched from afar")
    expect(row.get_by_text("Failed")).to_be_visible(timeout=60 * SECONDS)
    assert stayed(page)


def test_undo_takes_a_letter_back_before_it_leaves(product: "Product", page: Page) -> None:
    page.get_by_role("link", name="Marta Lindqvist").click()
    page.wait_for_url("**/customers/*")
    write(page, "Taken back", "Never mind.")
    page.get_by_role("button", name="Send message").last.click()
    expect(page.get_by_text("Queued for delivery")).to_be_visible(timeout=30 * SECONDS)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("li.is-cancelled", has_text="Taken back")).to_be_visible(timeout=30 * SECONDS)
    with product.stack.api() as api:
        assert not [
            mail
            for mail in api.get("/api/v1/sandbox/messages?limit=100").json()["items"]
            if mail["subject"] == "Taken back"
        ]
