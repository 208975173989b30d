"""A mail's own HTML, in a real browser: it runs nothing, and nobody learns that it was read."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from crm_api.web.security import mail_page
from tests.support.crm import Crm
from tests.support.pages import Visitor


class Tracker:
    """Somebody else's server: whoever connects is written down, whatever he says."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.heard.append(b"(connected)")
                threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            self.heard.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    yield tracker
    tracker.close()


def spying(at: str) -> str:
    """All ways to fetch something that somebody has thought of."""
    return f"""
    <head>
      <meta http-equiv="refresh" content="0; url={at}/refresh">
      <base href="{at}/base/">
      <link rel="stylesheet" href="{at}/a.css"><link rel="icon" href="{at}/icon">
      <link rel="preload" as="image" href="{at}/preload"><link rel="prefetch" href="{at}/prefetch">
      <link rel="preconnect" href="{at}"><link rel="preconnect" href="{at}" crossorigin>
      <link rel="dns-prefetch" href="{at}"><link rel="modulepreload" href="{at}/m.js">
      <link rel="manifest" href="{at}/w">
      <link rel="prerender" href="{at}/prerender">
      <style>
        @import url("{at}/import.css");
        @font-face {{ font-family: spy; src: url("{at}/font.woff2"); }}
        body {{ background: url("{at}/background"); font-family: spy; cursor: url("{at}/cursor"), auto; }}
        p::after {{ content: url("{at}/content"); }} li {{ list-style-image: url("{at}/list"); }}
      </style>
      <script src="{at}/s.js"></script><script>top.document.title = "taken over"; fetch("{at}/fetch")</script>
      <script type="speculationrules">{{"prerender": [{{"source": "list", "urls": ["{at}/speculation"]}}]}}</script>
    </head>
    <body background="{at}/body" onload="fetch('{at}/onload')">
      <p id="words">Read me.</p>
      <img src="{at}/pixel" srcset="{at}/set 2x" onerror="fetch('{at}/onerror')"><img src="relative.png">
      <picture><source srcset="{at}/picture"><img src="{at}/fallback"></picture>
      <video src="{at}/video" poster="{at}/poster" autoplay></video><audio src="{at}/audio" autoplay></audio>
      <object data="{at}/object"></object><embed src="{at}/embed"><iframe src="{at}/frame"></iframe>
      <svg><image href="{at}/svg"/><use href="{at}/use#x"/></svg><input type="image" src="{at}/input">
      <table background="{at}/table"><tr><td background="{at}/td">x</td></tr></table><ul><li>x</li></ul>
      <form id="f" action="{at}/form"><button autofocus>Go</button></form><a href="{at}/a" ping="{at}/ping">link</a>
      <iframe srcdoc="<img src='{at}/srcdoc'>"></iframe><a href="javascript:fetch('{at}/js')">js</a>
    </body>"""


def test_a_letter_tells_nobody_that_it_is_looked_at(visitor: Visitor, crm: Crm, tracker: Tracker) -> None:
    message = crm.send(subject="Spying", html=spying(f"http://127.0.0.1:{tracker.port}"))
    with visitor.page(f"/messages/{message.id}") as page:
        frame = page.frame_locator("iframe.mail")
        expect(frame.locator("#words")).to_have_text("Read me.")
        page.wait_for_load_state("networkidle")
        assert "taken over" not in page.title()
        frame.locator("#words").hover()
        page.wait_for_timeout(300)
        assert page.url.endswith(str(message.id))
    with visitor.page(f"/messages/{message.id}/html") as page:  # by itself, without the frame around it
        expect(page.locator("#words")).to_have_text("Read me.")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)
        assert page.url.endswith("/html")
    visitor.errors.clear()  # the browser says what it has refused
    assert tracker.heard == []


def test_the_tracker_would_have_noticed(visitor: Visitor, tracker: Tracker) -> None:
    """Without the policy the same HTML is heard of: the test above can fail."""
    with visitor.page() as page:
        page.route(
            "http://elsewhere.example/",
            lambda route: route.fulfill(body=spying(f"http://127.0.0.1:{tracker.port}"), content_type="text/html"),
        )
        with contextlib.suppress(Exception):
            page.goto("http://elsewhere.example/", wait_until="domcontentloaded")
        page.wait_for_timeout(500)
    visitor.errors.clear()
    assert tracker.heard


def test_a_mail_cannot_reach_the_page_around_it(visitor: Visitor, crm: Crm) -> None:
    html = "<p id='words'>x</p><form action='/sign-out' method='post' target='_top'><button>Free trees</button></form>"
    message = crm.send(subject="Form", html=html + "<a id='up' href='/messages' target='_top'>up</a>")
    with visitor.page(f"/messages/{message.id}") as page:
        frame = page.frame_locator("iframe.mail")
        frame.get_by_role("button", name="Free trees").click()
        frame.locator("#up").click()
        page.wait_for_timeout(200)
        assert page.url.endswith(str(message.id))
        page.goto("/messages")
        assert page.url.endswith("/messages"), "still signed in"
    visitor.errors.clear()


def test_our_own_pages_run_no_inline_script(visitor: Visitor, scenes: dict[str, str]) -> None:
    """The policy is in force, not only in the headers."""
    with visitor.page("/messages") as page:
        page.evaluate(
            """() => {
                const script = document.createElement('script')
                script.textContent = "document.title = 'taken over'"
                document.body.append(script)
                const button = document.createElement('button')
                button.setAttribute('onclick', "document.title = 'taken over'")
                document.body.append(button)
                button.click()
            }"""
        )
        assert "taken over" not in page.title()
        for path in ("/messages", "/messages/new", "/customers", "/sandbox", *scenes.values()):
            page.goto(path)
            assert page.locator("script:not([src])").count() == 0
            assert page.locator("[onclick], [onload], [onerror], [href^='javascript:']").count() == 0
    visitor.errors.clear()


def test_what_connects_by_itself_is_no_element_any_more() -> None:
    html = "<LINK rel=preconnect href=//x><link/rel=x><p>a link, <linked> <framed>, <iFrame src=//x></iframe><embed>"
    body = bytes(mail_page(html).body).decode()
    assert body == html.replace("<LINK", "<x-LINK").replace("<link/", "<x-link/").replace(
        "<iFrame", "<x-iFrame"
    ).replace("<embed", "<x-embed")
