"""What every page has in common: its policy, its parts, its errors, its toast, its stream."""

import asyncio
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.changes import ChangeFeed, Subscription
from crm_api.web.events import stream
from crm_api.web.local_url import here
from crm_api.web.templates import ROOMS
from crm_api.web.toasts import COOKIE
from tests.support.crm import Crm

REFRESH = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.mark.parametrize(
    "path", ["/messages", "/messages/new", "/sandbox", "/reconciliation", "/search", "/no/such/page", "/help/keys"]
)
def test_nothing_from_elsewhere(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for address in re.findall(r'(?:src|href|action)="([^"]+)"', answer.text):
        assert address.startswith(("/", "#")), address
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", answer.text)


def test_templates_have_no_inline_style_or_script() -> None:
    for path in ROOMS.glob("*/html/**/*.html"):
        found = re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|hx-on", path.read_text())
        assert found is None, (path, found)


def test_a_refresh_gets_only_the_part_it_asks_for(browser: TestClient, crm: Crm) -> None:
    crm.send(subject="Saplings")
    part = browser.get("/messages", headers=REFRESH | {"HX-Target": "div#list"}).text
    assert part.lstrip().startswith('<div id="list"')
    assert "Saplings" in part
    assert part in browser.get("/messages").text  # the page includes the very same markup
    assert "<html" in browser.get("/messages", headers=REFRESH | {"HX-Target": "div#other"}).text


def test_a_missing_page_is_a_page(browser: TestClient) -> None:
    answer = browser.get("/messages/00000000-0000-7000-8000-000000000000")
    assert answer.status_code == 404
    assert "There is no such message." in answer.text
    assert "<nav" in answer.text


def test_a_button_that_fails_is_a_toast_on_the_page_it_was_pressed_on(browser: TestClient, crm: Crm) -> None:
    message = crm.send()
    crm_delivery = crm.delivery(message.id)
    answer = browser.post(f"/messages/{message.id}/deliveries/{crm_delivery.id}/discard", headers=REFRESH)
    assert answer.status_code == 409
    assert answer.headers["hx-reswap"] == "none"
    assert 'hx-target="#toasts"' in answer.text
    assert "cannot be discarded" in answer.text


def test_a_page_whose_session_has_ended_goes_to_sign_in_and_back(visitor: TestClient) -> None:
    answer = visitor.get("/messages?view=sent")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/messages%3Fview%3Dsent")
    refresh = REFRESH | {"HX-Target": "ul#truth", "HX-Current-URL": "http://posthaste.example/messages?view=sent"}
    answer = visitor.get("/system", headers=refresh)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/sign-in?next=/messages%3Fview%3Dsent"


def test_a_toast_is_shown_once(browser: TestClient, crm: Crm) -> None:
    message = crm.send(undo_seconds=300)
    answer = browser.post(f"/messages/{message.id}/cancel")
    assert answer.status_code == 303
    assert "Cancelled." in browser.get(answer.headers["location"]).text
    assert "It will not leave." not in browser.get(answer.headers["location"]).text


@pytest.mark.parametrize("value", ["", "nonsense", "e30", "eyJ0aXRsZSI6MX0", "eyJmb28iOiJiYXIifQ", "\x7f"])
def test_a_toast_that_is_none_is_not_shown(browser: TestClient, value: str) -> None:
    answer = browser.get("/messages", headers={"Cookie": f"{COOKIE}={value}; {_cookies(browser)}"})
    assert answer.status_code == 200
    assert 'class="toast' not in answer.text


def _cookies(browser: TestClient) -> str:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def test_appearance(browser: TestClient) -> None:
    answer = browser.post("/appearance", data={"theme": "dark", "next": "/messages"})
    assert answer.headers["location"] == "/messages"
    assert 'data-theme="dark"' in browser.get("/messages").text
    browser.post("/appearance", data={"theme": "system"})
    assert "data-theme" not in browser.get("/messages").text


@pytest.mark.parametrize("url", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "evil", ""])
def test_no_way_to_another_site(url: str) -> None:
    assert here(url) == "/"
    assert here("/messages?view=sent") == "/messages?view=sent"


def test_a_template_escapes(browser: TestClient, crm: Crm) -> None:
    crm.send(subject='<img src=x onerror="alert(1)">')
    assert "<img" not in browser.get("/messages").text
    assert "<img" not in browser.get("/search?q=<img").text


async def test_the_stream_says_what_the_page_listens_to(app: FastAPI) -> None:
    """First "*", then its own topics only; many at once are one event; it ends when the house closes."""
    feed: ChangeFeed = app.state.feed
    lines = stream(feed, {"messages", "message:1"})
    assert (await anext(lines)).endswith("event: changed\ndata: *\n\n")
    (subscription,) = _subscriptions(feed)
    following = asyncio.ensure_future(anext(lines))
    subscription.add({"customers"})
    await asyncio.sleep(0)
    assert not following.done()
    subscription.add({"messages", "message:2", "message:1"})
    assert await following == "event: changed\ndata: message:1 messages\n\n"
    feed.closed = True
    subscription.add({"messages"})
    with pytest.raises(StopAsyncIteration):
        await anext(lines)
    assert _subscriptions(feed) == set()


async def test_the_stream_ends_when_who_listens_must_show_again_who_they_are(app: FastAPI) -> None:
    feed: ChangeFeed = app.state.feed
    lines = stream(feed, {"messages"}, until="user:1")
    await anext(lines)
    (subscription,) = _subscriptions(feed)
    subscription.add({"user:1", "messages"})
    with pytest.raises(StopAsyncIteration):
        await anext(lines)


def _subscriptions(feed: ChangeFeed) -> set[Subscription]:
    return feed._subscriptions
