"""Pages in a real browser: signed in, watched for errors, checked by axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.people import EMAIL, PASSWORD

AXE = Path(__file__).resolve().parents[1] / "browser" / "vendor" / "axe.min.js"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# what a browser says on its console though all is as it should be: a form that came back, a missing page, a mail's
# script that did not run
_MEANT = ("the server responded with a status of 4", "because the document's frame is sandboxed")


@dataclass
class Visitor:
    """Opens pages of one house in one browser. errors: what the console said, and uncaught exceptions."""

    browser: Browser
    url: str
    state: Any = None
    errors: list[str] = field(default_factory=list)

    def sign_in(self) -> None:
        """Through the form, once; later pages start with its cookies."""
        context = self.browser.new_context()
        page = context.new_page()
        page.goto(f"{self.url}/sign-in?next=/messages")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.locator("main button[type=submit], main button:not([type])").first.click()
        page.wait_for_url("**/messages")
        self.state = context.storage_state()
        context.close()

    @contextmanager
    def page(
        self, path: str | None = None, *, width: int = 1440, dark: bool = False, javascript: bool = True, **options: Any
    ) -> Iterator[Page]:
        context = self.browser.new_context(
            base_url=self.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
            storage_state=self.state,
            timezone_id="Europe/Stockholm",
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", lambda line: self._hear(line.type, line.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        try:
            if path:
                page.goto(path)
            yield page
        finally:
            context.close()

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not any(words in text for words in _MEANT):
            self.errors.append(text)


@cache
def _axe() -> str:
    return AXE.read_text()


def complaints(page: Page, colours_only: bool = False) -> list[str]:
    """What axe-core finds wrong, one line for each element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())  # not a script element: the page's own policy would refuse that
    options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False}
    if colours_only:
        options["runOnly"] = ["color-contrast"]
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:200]} {[check['message'] for check in node['any'][:1]]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def sideways(page: Page) -> list[str]:
    """Elements that stick out of the window and make the page scroll sideways; empty if it does not."""
    return list(
        page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              if (document.documentElement.scrollWidth <= width) return [];
              const end = (element) => Math.round(element.getBoundingClientRect().right);
              return [...document.querySelectorAll("body *")]
                .filter((element) => element.checkVisibility() && end(element) > width + 1)
                .map((element) => `${element.tagName}.${element.className} to ${end(element)} of ${width}`)
                .slice(0, 10)
                .concat(`the page is ${document.documentElement.scrollWidth} wide`);
            }"""
        )
    )
