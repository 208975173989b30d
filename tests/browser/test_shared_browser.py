"""Two people at one browser, one after the other: the second finds nothing of the first, wherever they look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlmodel import delete

from crm_api.auth.models import SignIn
from tests.support.crm import Crm
from tests.support.pages import Visitor
from tests.support.people import EMAIL, PASSWORD, add_user

NEXT = "next@holt-trees.example"
SECRET = "Nobody else may read this"


@pytest.fixture(scope="module")
def tom(_lived_in: Any) -> None:
    crm = _lived_in[1]
    with crm.database.write() as session:
        add_user(session, NEXT, "Tom Ek")


@contextmanager
def shared(visitor: Visitor) -> Iterator[BrowserContext]:
    context = visitor.browser.new_context(base_url=visitor.url)
    context.set_default_timeout(15_000)
    try:
        yield context
    finally:
        context.close()


def sign_in(page: Page, email: str) -> None:
    page.goto("/sign-in?next=/messages/new")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/messages/new")


def sign_out(page: Page) -> None:
    page.locator("button.user").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in")


def write_draft(page: Page) -> None:
    page.get_by_label("Subject").fill(SECRET)
    page.get_by_label("Text", exact=True).fill(SECRET)
    expect(page.locator("[data-saved]")).to_contain_text("Draft kept")


def end_sessions(crm: Crm) -> None:
    with crm.database.write() as session:
        session.execute(delete(SignIn))


def kept(page: Page) -> str:
    return str(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))


@pytest.mark.parametrize("how", ["signed out", "session ended"])
def test_the_next_one_finds_no_draft(visitor: Visitor, crm: Crm, tom: None, how: str) -> None:
    with shared(visitor) as context:
        page = context.new_page()
        sign_in(page, EMAIL)
        write_draft(page)
        if how == "signed out":
            sign_out(page)
            assert SECRET not in kept(page), "nor does anybody who looks into the browser's store"
        else:
            end_sessions(crm)
        sign_in(page, NEXT)
        expect(page.get_by_label("Subject")).to_have_value("")
        expect(page.get_by_label("Text", exact=True)).to_have_value("")
        assert SECRET not in kept(page)
        page.go_back()
        page.go_back()
        assert SECRET not in page.content()


def test_the_same_one_finds_it_again_when_the_session_ended(visitor: Visitor, crm: Crm) -> None:
    with shared(visitor) as context:
        page = context.new_page()
        sign_in(page, EMAIL)
        write_draft(page)
        end_sessions(crm)
        sign_in(page, EMAIL)
        expect(page.get_by_label("Subject")).to_have_value(SECRET)


def test_another_tab_shows_nothing_of_who_was_there(visitor: Visitor, tom: None) -> None:
    with shared(visitor) as context:
        page, other = context.new_page(), context.new_page()
        sign_in(page, EMAIL)
        other.goto("/messages/new")
        write_draft(other)
        sign_out(page)
        expect(other.get_by_label("Password")).to_be_visible()  # it has gone to the sign-in page by itself
        sign_in(page, NEXT)
        assert SECRET not in other.content()
        assert SECRET not in kept(page)


def test_back_shows_no_page_of_who_was_there(visitor: Visitor) -> None:
    with shared(visitor) as context:
        page = context.new_page()
        sign_in(page, EMAIL)
        page.goto("/account")
        expect(page.locator("body")).to_contain_text(EMAIL)
        sign_out(page)
        page.go_back()
        expect(page.get_by_label("Password")).to_be_visible()
        assert EMAIL not in page.content()


def test_single_keys_stay_off_for_this_browser(visitor: Visitor) -> None:
    """What somebody needs who speaks to the browser is no draft, and is not swept."""
    with shared(visitor) as context:
        page = context.new_page()
        sign_in(page, EMAIL)
        page.goto("/help/keys")
        page.get_by_label("Single keys work outside of fields").uncheck()
        sign_out(page)
        sign_in(page, EMAIL)
        page.goto("/help/keys")
        expect(page.get_by_label("Single keys work outside of fields")).not_to_be_checked()


def test_an_uploaded_script_does_not_run(visitor: Visitor, crm: Crm) -> None:
    """Though it comes from our own address, and somebody has found a way to put its element on a page."""
    import base64

    script = base64.b64encode(b"document.title = 'taken over'").decode()
    attached = [{"filename": "x.js", "content": script, "content_type": "text/javascript"}]
    message = crm.send(attachments=attached)
    with shared(visitor) as context:
        page = context.new_page()
        sign_in(page, EMAIL)
        for url in (f"/messages/{message.id}/files/0/x.js", f"/static/../messages/{message.id}/files/0/x.js"):
            ran = page.evaluate(
                """url => new Promise((done) => {
                    const script = Object.assign(document.createElement("script"), { src: url });
                    script.onload = () => done("ran");
                    script.onerror = () => done("refused");
                    document.head.append(script);
                })""",
                url,
            )
            assert ran == "refused", url
        assert page.title() != "taken over"
