"""Real parts for the tests: RabbitMQ, PostgreSQL, SQLite, Chromium, found or installed by ``local``.

Each is started once a session, by the first test that asks. Where a part cannot be had, the test is skipped
with the reason; with ``CI=true`` it fails.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crm_api.auth import passwords
from local import chromium
from local.errors import Unavailable
from local.postgresql import Cluster
from local.rabbitmq import Node
from shared import amqp_link
from tests.support.databases import Template
from tests.support.vhosts import Vhosts

settings.register_profile("long")  # see tests/model/effort.py


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, default=10, help="how long each of the long tests looks (make test-long)")


# their files take longest, mostly waiting: begun last, they would be waited for by idle cores
BEGUN_FIRST = ("drill", "local", "end_to_end", "security", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return BEGUN_FIRST.index(folder) if folder in BEGUN_FIRST else len(BEGUN_FIRST)

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # modules and tests stay: to look through them at every collection is a tenth of the time


def _cannot_be_had(reason: Unavailable) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tells the terminal what takes long (downloads), past pytest's capturing."""
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def tell(sentence: str) -> None:
        with capture.global_and_fixture_disabled():  # type: ignore[union-attr]
            print(f"\n{sentence}", flush=True)

    return tell


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Argon2 is slow on purpose, and a thousand tests sign in; test_sign_in.py sees how slow it really is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_argon2", PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)]))
        yield


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[Node]:
    """A private node. A test that stops or kills it must start it again."""
    node = Node(tmp_path_factory.mktemp("rabbitmq"), say=say)
    try:
        node.start()
    except Unavailable as reason:
        _cannot_be_had(reason)
    yield node
    node.kill()  # nothing of it is needed again, and an orderly stop takes five seconds


@pytest.fixture(scope="session")
def vhosts(rabbitmq: Node) -> Vhosts:
    return Vhosts(rabbitmq)


@pytest.fixture
def amqp_url(rabbitmq: Node, vhosts: Vhosts) -> Iterator[str]:
    """The URL of a virtual host of its own."""
    vhost = vhosts.make()
    yield rabbitmq.url_for(vhost)
    vhosts.leave(vhost)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link of this process that finds no broker asks again within a second, instead of up to ten."""
    monkeypatch.setattr(amqp_link, "LONGEST_PAUSE_SECONDS", 1)


@pytest.fixture(scope="session")
def postgresql(say: Callable[[str], None]) -> Iterator[Cluster]:
    """A private cluster; ``url`` is its superuser's."""
    cluster = Cluster(say=say)
    try:
        cluster.start()
    except Unavailable as reason:
        _cannot_be_had(reason)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Template]:
    """Migrated once for each kind of database, when first asked for."""
    template = Template(tmp_path_factory.mktemp("databases"), lambda: request.getfixturevalue("postgresql"))
    yield template
    template.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, database_template: Template, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated, empty database of each kind."""
    if request.param == "sqlite":
        yield database_template.copy_sqlite(tmp_path / "posthaste.sqlite")
        return
    request.getfixturevalue("postgresql")  # skips if there is none
    url = database_template.copy_postgresql()
    yield url
    database_template.drop_postgresql(url)


@pytest.fixture(scope="session")
def chromium_path(say: Callable[[str], None]) -> str:
    """Path of an executable Chromium."""
    try:
        chromium.make_playwright_start(say)
        return str(chromium.find(say))
    except Unavailable as reason:
        _cannot_be_had(reason)
