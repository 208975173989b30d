"""Signing in through somebody else's OpenID provider, in a real browser, with the real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from crm_api.db import Database
from crm_api.settings import CrmSettings
from tests.support.databases import Template
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, PASSWORD, OpenIdSite
from tests.support.pages import Visitor, complaints, sideways
from tests.support.people import add_user
from tests.support.ports import free_port
from tests.support.stack import Stack, stack


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdSite]:
    port = free_port()
    site = OpenIdSite(tmp_path_factory.mktemp("openid"), f"http://127.0.0.1:{port}/sign-in/openid/back")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def house(site: OpenIdSite, tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("house")
    url = database_template.copy_sqlite(folder / "posthaste.sqlite")
    database = Database(CrmSettings(database_url=url).database)
    with database.write() as session:
        add_user(session)
    database.close()
    given = {
        "openid_issuer": site.issuer,
        "openid_client_id": CLIENT_ID,
        "openid_client_secret": CLIENT_SECRET,
        "openid_label": "Elm Street ID",
    }
    with stack(folder / "data", url, "amqp://nobody:nothing@127.0.0.1:1/", port=site.redirect_port, **given) as made:
        made.start("web")
        yield made


@pytest.fixture
def stranger(browser: Browser, house: Stack) -> Iterator[Visitor]:
    visitor = Visitor(browser, house.url)
    yield visitor
    assert visitor.errors == []


@pytest.mark.parametrize("javascript", [True, False])
def test_to_the_provider_and_back(stranger: Visitor, javascript: bool) -> None:
    with stranger.page("/messages?q=plums", javascript=javascript) as page:
        page.get_by_role("link", name="Sign in with Elm Street ID").click()
        page.get_by_label("Name").fill("ida")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Authorize").click()
        page.wait_for_url("**/messages?q=plums")
        page.goto("/account")
        expect(page.get_by_text("Linked since")).to_be_visible()
        assert not javascript or complaints(page) == []
        page.get_by_role("button", name="Remove the link").click()
        expect(page.get_by_text("Not linked yet.")).to_be_visible()


def test_who_cancels_comes_back_to_the_sign_in_page(stranger: Visitor) -> None:
    with stranger.page("/sign-in") as page:
        page.get_by_role("link", name="Sign in with Elm Street ID").click()
        page.get_by_label("Name").fill("tom")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_have_text("Elm Street ID did not let you through.")
        expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_the_sign_in_page_is_sound(stranger: Visitor, width: int, dark: bool) -> None:
    with stranger.page("/sign-in", width=width, dark=dark) as page:
        assert complaints(page) == []
        assert sideways(page) == []
    with stranger.page("/sign-in/openid/back", width=width, dark=dark) as page:
        expect(page.get_by_role("alert")).to_contain_text("began in another browser")
        assert complaints(page) == []
