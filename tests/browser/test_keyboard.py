"""The keyboard alone is enough."""

from playwright.sync_api import expect

from tests.support.pages import Visitor, complaints


def test_search_help_and_rows(visitor: Visitor) -> None:
    with visitor.page("/messages") as page:
        page.keyboard.press("/")
        search = page.get_by_label("Search everything")
        expect(search).to_be_focused()
        page.keyboard.type("?jk")  # single keys are letters in a field
        expect(search).to_have_value("?jk")
        page.locator("h1").click()
        page.keyboard.press("?")
        help_ = page.get_by_role("dialog", name="Keyboard")
        expect(help_).to_be_visible()
        assert complaints(page) == []
        page.keyboard.press("Escape")
        expect(help_).not_to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        first = page.locator("tbody tr a").first
        expect(first).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_url("**/messages/*-*")


def test_single_keys_can_be_switched_off(visitor: Visitor) -> None:
    with visitor.page("/messages") as page:
        page.keyboard.press("?")
        page.get_by_label("Single keys work outside of fields").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        expect(page.get_by_label("Search everything")).not_to_be_focused()
        page.goto("/help/keys")
        page.get_by_label("Single keys work outside of fields").check()
        page.keyboard.press("/")
        page.locator("h1").click()
        page.keyboard.press("/")
        expect(page.get_by_label("Search everything")).to_be_focused()


def test_skip_link_is_first_and_menus_close_with_escape(visitor: Visitor) -> None:
    with visitor.page("/messages/new") as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        fields = page.get_by_text("Insert field")
        fields.click()
        expect(page.get_by_role("button", name="First name")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="First name")).not_to_be_visible()


def test_navigation_on_a_phone(visitor: Visitor) -> None:
    with visitor.page("/messages", width=390) as page:
        expect(page.get_by_role("link", name="Sandbox inbox")).not_to_be_visible()
        page.get_by_role("button", name="Menu").click()
        assert complaints(page) == []
        page.get_by_role("link", name="Sandbox inbox").click()
        expect(page.locator("h1")).to_have_text("Sandbox inbox")


def test_appearance_without_leaving_the_page(visitor: Visitor) -> None:
    with visitor.page("/messages") as page:
        page.get_by_role("button", name="your account").click()
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="your account").click()
        page.get_by_role("button", name="System").click()
        page.reload()
        assert page.locator("html").get_attribute("data-theme") is None
