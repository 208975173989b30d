"""The real web application in a process of its own, and a real browser to look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from crm_api.db import Database
from crm_api.settings import CrmSettings
from tests.support.crm import Crm, crm_of
from tests.support.databases import Template
from tests.support.pages import FLAGS, Visitor
from tests.support.people import add_user
from tests.support.ports import free_port
from tests.support.scenes import everything, heartbeats
from tests.support.stack import Stack


def _house(factory: pytest.TempPathFactory, template: Template) -> Iterator[tuple[Stack, Crm]]:
    data_dir = factory.mktemp("house")
    url = template.copy_sqlite(data_dir / "posthaste.sqlite")
    port = free_port()
    given = {"DATA_DIR": data_dir, "DATABASE_URL": url, "PORT": port, "UNDO_SECONDS": 60}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    environment = inherited | {f"POSTHASTE_{name}": str(value) for name, value in given.items()}
    settings = CrmSettings(data_dir=data_dir, database_url=url, port=port, undo_seconds=60)
    database = Database(settings.database)
    with database.write() as session:
        user = add_user(session)
    stack = Stack(data_dir, environment, port)
    try:
        stack.start("web")
        yield stack, crm_of(settings, database, user)
    finally:
        for part in stack.parts.values():
            part.kill()
            part.wait(30)
        database.close()


@pytest.fixture(scope="session")
def _lived_in(
    tmp_path_factory: pytest.TempPathFactory, database_template: Template
) -> Iterator[tuple[Stack, Crm, dict[str, str]]]:
    for stack, crm in _house(tmp_path_factory, database_template):
        yield stack, crm, everything(crm)


@pytest.fixture(scope="module")  # what one module does there is not in the next one's way
def _new(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[tuple[Stack, Crm]]:
    yield from _house(tmp_path_factory, database_template)


@pytest.fixture(scope="module")  # not for the session: Playwright's loop would be in the way of asyncio tests
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def _signed_in(browser: Browser, _lived_in: tuple[Stack, Crm, dict[str, str]]) -> Visitor:
    visitor = Visitor(browser, _lived_in[0].url)
    visitor.sign_in()
    return visitor


@pytest.fixture
def visitor(_signed_in: Visitor) -> Iterator[Visitor]:
    """Somebody who is signed in; the test fails if the console of a page says an error."""
    _signed_in.errors.clear()
    yield _signed_in
    assert _signed_in.errors == []


@pytest.fixture
def stranger(browser: Browser, _lived_in: tuple[Stack, Crm, dict[str, str]]) -> Iterator[Visitor]:
    """Somebody who is not."""
    visitor = Visitor(browser, _lived_in[0].url)
    yield visitor
    assert visitor.errors == []


@pytest.fixture
def newcomer(browser: Browser, _new: tuple[Stack, Crm]) -> Iterator[Visitor]:
    """Somebody signed in where nothing has happened yet."""
    heartbeats(_new[1])
    visitor = Visitor(browser, _new[0].url)
    visitor.sign_in()
    yield visitor
    assert visitor.errors == []


@pytest.fixture
def crm(_lived_in: tuple[Stack, Crm, dict[str, str]]) -> Crm:
    """The house's database, for what happens elsewhere while a page is open."""
    return _lived_in[1]


@pytest.fixture
def new_crm(_new: tuple[Stack, Crm]) -> Crm:
    return _new[1]


@pytest.fixture
def new_stack(_new: tuple[Stack, Crm]) -> Stack:
    return _new[0]


@pytest.fixture
def scenes(_lived_in: tuple[Stack, Crm, dict[str, str]]) -> dict[str, str]:
    """Name of a scene → its page."""
    return _lived_in[2]
