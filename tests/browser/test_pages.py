"""Every page, in light and dark, on a desk and on a telephone: it renders, nothing sticks out, axe finds nothing."""

import re
from pathlib import Path
from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Page

from crm_api.app import create_app
from crm_api.changes import announce
from crm_api.messages.models import Message
from crm_api.settings import CrmSettings
from tests.support.crm import Crm
from tests.support.pages import Visitor, complaints, sideways
from tests.support.scenes import heartbeats

SCENES = [
    "sent and deferred",
    "failed",
    "unknown",
    "discarded",
    "long",
    "foreign HTML",
    "plain text",
    "many",
    "planned",
    "cancelled",
    "mail, html",
    "mail, text",
    "mail, headers",
    "mail, source",
    "customer",
    "long customer",
    "customer, edit",
    "customer, archive",
    "contact, new",
    "contact",
    "discard",
    "reconciliation",
    "lost",
    "stranger",
    "user",
    "user, invited",
    "user, disabled",
    "user, disable",
    "key, revoke",
]
PATHS = [
    "/messages",
    "/messages?view=person",
    "/messages?q=invoice",
    "/messages?q=nothing+at+all",
    "/messages/new",
    "/messages/new?to=email:ida@example.com&to=email:tom@example.com&to=email:not+an+address",
    "/sandbox",
    "/sandbox?to=nobody@example.com",
    "/sandbox/clear",
    "/search?q=invoice",
    "/search?q=nobody@nowhere.example",
    "/search",
    "/customers",
    "/customers/new",
    "/users",
    "/users/new",
    "/keys",
    "/senders",
    "/keys/new",
    "/account",
    "/account/second-factor",
    "/account/second-factor/off",
    "/audit",
    "/audit?object=nothing",
    "/help/keys",
    "/help/api",
    "/no/such/page",
]


# what a page is made of, or leads to, but is no page itself
NO_PAGES = re.compile(
    "/api/|/health/|/static/|/events|/favicon|/system|/openapi|/$|.*/suggest|.*/files/|.*/html$|.*/source$|/sign-in|/links/|/audit.csv"
)


def test_every_page_of_the_product_is_looked_at(scenes: dict[str, str], tmp_path: Path) -> None:
    seen = {path.partition("?")[0] for path in [*PATHS, *(scenes[name] for name in SCENES)]}
    for route in iter_route_contexts(create_app(CrmSettings(data_dir=tmp_path)).routes):
        if "GET" in (route.methods or ()) and not NO_PAGES.match(route.path):
            pattern = re.compile(re.sub(r"\{[^}]*\}", "[^/]+", route.path) + "$")
            assert any(pattern.match(path) for path in seen), f"nobody looks at {route.path}"


def look(page: Page) -> dict[str, list[str]]:
    """What is wrong with the page in each view; the page is loaded once, as it would be turned and dimmed."""
    wrong = {}
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            # between light and dark nothing but the colours changes
            if found := complaints(page, colours_only=scheme == "dark") + sideways(page):
                wrong[f"{width}, {scheme}"] = found
    return wrong


@pytest.mark.parametrize("name", SCENES)
def test_scene(visitor: Visitor, scenes: dict[str, str], name: str) -> None:
    with visitor.page(scenes[name]) as page:
        assert page.locator("h1").count() == 1
        assert look(page) == {}


@pytest.mark.parametrize("path", PATHS)
def test_page(visitor: Visitor, path: str) -> None:
    with visitor.page(path) as page:
        assert page.locator("h1").count() == 1
        assert look(page) == {}


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/forgot", "link", "/links/none"])
def test_before_signing_in(stranger: Visitor, scenes: dict[str, str], path: str) -> None:
    with stranger.page(scenes.get(path, path)) as page:
        assert page.locator("h1").count() == 1
        assert look(page) == {}


def test_what_is_shown_once(visitor: Visitor) -> None:
    """A key, and by plain forms."""
    with visitor.page("/keys/new", javascript=False) as page:
        page.get_by_role("button", name="Make the key").click()
        assert "needs a change" in page.locator(".lede").inner_text()
        page.get_by_label("Name").fill("web shop")
        page.get_by_role("button", name="Make the key").click()
        assert page.get_by_label("The key").input_value().startswith("ph_")
    with visitor.page("/keys/new") as page:
        page.get_by_label("Name").fill("web shop")
        page.get_by_role("button", name="Make the key").click()
        page.get_by_label("The key").wait_for()
        assert look(page) == {}


@pytest.mark.parametrize("path", ["/messages", "/sandbox", "/customers", "/search?q=ida", "/reconciliation"])
def test_empty(newcomer: Visitor, path: str) -> None:
    """An empty page says what to do next: there is a link that does it."""
    with newcomer.page(path) as page:
        assert page.locator(".empty .btn").count() >= 1
        assert look(page) == {}


def test_no_width_in_between_scrolls_sideways(visitor: Visitor, scenes: dict[str, str]) -> None:
    wrong = {}
    with visitor.page() as page:
        for path in [*PATHS, *scenes.values()]:
            page.goto(path)
            for width in (320, 768, 1024, 1280, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                if found := sideways(page):
                    wrong[f"{path} at {width}"] = found
    assert wrong == {}


def test_broker_down_is_a_quiet_banner(newcomer: Visitor, new_crm: Crm) -> None:
    """It comes and goes on a page that is open, and says that nothing is lost."""
    with newcomer.page("/messages") as page:
        banner = page.locator("#system-banner .banner")
        assert banner.count() == 0
        heartbeats(new_crm, broker="down")
        with new_crm.database.write() as session:
            announce(session, "system")
        banner.wait_for()
        assert "othing is lost" in banner.inner_text()
        assert "down" in page.locator("#truth").inner_text()
        assert look(page) == {}
        heartbeats(new_crm)
        with new_crm.database.write() as session:
            announce(session, "system")
        banner.wait_for(state="detached")


def test_foreign_html_does_nothing(visitor: Visitor, scenes: dict[str, str]) -> None:
    """No script of a mail runs, in its frame or when its address is opened by itself."""
    with visitor.page(scenes["foreign HTML"]) as page:
        frame = page.frame_locator("iframe.mail")
        assert frame.locator("h1").inner_text() == "Prices"
        assert "Prices" in page.title()
        page.goto(scenes["foreign HTML"] + "/html")
        assert page.locator("h1").inner_text() == "Prices"
        assert page.title() != "taken over"


def test_attachment_is_a_download(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["sent and deferred"]) as page, page.expect_download() as download:
        page.get_by_role("link", name="Planting plan, north field.txt").click()
    assert download.value.suggested_filename == "Planting plan, north field.txt"


def test_a_list_pages_by_key(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["many"]) as page:
        assert page.locator("table.deliveries > tbody > tr:not(.open)").count() == 50
        page.get_by_role("link", name="Next 50").click()
        page.wait_for_url("**cursor=**")
        assert page.locator("table.deliveries > tbody > tr:not(.open)").count() == 10
        page.get_by_role("link", name="To the start").click()
        page.get_by_role("link", name="Need a person 20").click()
        page.wait_for_url("**view=person**")
        assert page.locator("table.deliveries > tbody > tr:not(.open)").count() == 20


def test_search_finds_all_kinds(visitor: Visitor, crm: Crm, scenes: dict[str, str]) -> None:
    with crm.database.read() as session:
        assert session.get(Message, UUID(scenes["failed"].rpartition("/")[2])) is not None
    with visitor.page("/messages") as page:
        page.keyboard.press("/")
        page.keyboard.type("jonas@ek")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=**")
        assert page.get_by_role("link", name="Invoice failed").count() == 1
