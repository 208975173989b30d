"""While the database is away, everything says so: 503 and when to ask again; never a defect, never a traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from crm_api import db
from crm_api.app import create_app
from crm_api.auth.keys import add_key
from crm_api.db import Database
from crm_api.settings import CrmSettings
from local.postgresql import Cluster
from tests.support.databases import Template
from tests.support.people import EMAIL, KEY, PASSWORD, add_user
from tests.support.proxy import proxy

PROGRAM = {"Authorization": f"Bearer {KEY}"}
DRAFT = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday."}


@dataclass
class House:
    app: FastAPI
    client: TestClient  # signed in with a cookie
    lose: Callable[[], None]
    find: Callable[[], None]


def signed_in(settings: CrmSettings) -> None:
    database = Database(settings.database)
    with database.write() as session:
        add_key(session, add_user(session), "tests", KEY)
    database.close()


@pytest.fixture
def postgresql_house(postgresql: Cluster, database_template: Template, tmp_path: Path) -> Iterator[House]:
    url = database_template.copy_postgresql()
    to = urlsplit(url)
    with proxy(to.port or 0) as line:
        through = urlunsplit(to._replace(netloc=f"{to.username}:{to.password}@127.0.0.1:{line.port}"))
        settings = CrmSettings(data_dir=tmp_path, database_url=SecretStr(through))
        signed_in(settings)
        app = create_app(settings)
        with TestClient(app, follow_redirects=False) as client:
            client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
            yield House(app, client, line.cut, line.mend)
            line.mend()
    database_template.drop_postgresql(url)


@pytest.fixture
def sqlite_house(database_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Lost: somebody else holds the file, for longer than we wait."""
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 50)
    path = tmp_path / "posthaste.sqlite"
    settings = CrmSettings(data_dir=tmp_path, database_url=SecretStr(database_template.copy_sqlite(path)))
    signed_in(settings)
    other = sqlite3.connect(path, isolation_level=None)

    def lose() -> None:
        other.execute("BEGIN IMMEDIATE")

    app = create_app(settings)
    with TestClient(app, follow_redirects=False) as client:
        client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        yield House(app, client, lose, lambda: other.execute("ROLLBACK"))
        if other.in_transaction:
            other.execute("ROLLBACK")
    other.close()


def sqlite_error(name: str) -> sqlite3.OperationalError:
    """As the driver itself raises it."""
    problem = sqlite3.OperationalError(name)
    problem.sqlite_errorname = name
    return problem


READS = [
    ("GET", "/", {}),
    ("GET", "/messages", {}),
    ("GET", "/messages/new", {}),
    ("GET", "/customers", {}),
    ("GET", "/search?q=ada", {}),
    ("GET", "/system", {}),
    ("GET", "/events?topics=messages", {}),
    ("GET", "/account", {}),
    ("GET", "/users", {}),
    ("GET", "/audit", {}),
    ("GET", "/reconciliation", {}),
    ("GET", "/sandbox", {}),
    ("GET", "/nothing", {}),
    ("GET", "/messages", {"headers": {"HX-Request": "true", "HX-Request-Type": "partial"}}),
    ("GET", "/api/v1/me", {"headers": PROGRAM}),
    ("GET", "/api/v1/messages", {"headers": PROGRAM}),
    ("GET", "/api/v1/system", {"headers": PROGRAM}),
    ("GET", "/openapi.json", {"headers": PROGRAM}),
    ("GET", "/api/v1/nothing", {"headers": PROGRAM}),
    ("POST", "/messages", {"data": {"to": "ada@example.com", "subject": "x", "markdown": "y"}}),
    ("GET", "/links/some-token-that-is-long-enough", {}),
    ("GET", "/health/ready", {}),
]
WRITES = [
    ("POST", "/api/v1/messages", {"headers": PROGRAM, "json": DRAFT}),
    ("POST", "/api/v1/messages", {"headers": PROGRAM, "json": DRAFT | {"colour": "blue"}}),
    ("POST", "/api/v1/customers", {"headers": PROGRAM, "json": {"email": "a@b.example"}}),
    ("POST", "/sign-in", {"data": {"email": EMAIL, "password": PASSWORD}}),
    ("POST", "/sign-in/forgot", {"data": {"email": EMAIL}}),
    ("POST", "/customers", {"data": {"email": "a@b.example"}}),
    ("POST", "/sign-out", {}),
    ("POST", "/users", {"data": {"email": "tom@holt.example", "name": "Tom", "role": "agent"}}),
]


def check(house: House, requests: list[tuple[str, str, dict[str, object]]]) -> dict[str, int]:
    wrong = {}
    for method, path, more in requests:
        answer = house.client.request(method, path, **more)  # type: ignore[arg-type]
        if answer.status_code != 503 or ("retry-after" not in answer.headers and path != "/health/ready"):
            wrong[f"{method} {path}"] = answer.status_code
        elif path.startswith("/api/"):
            assert answer.headers["content-type"] == "application/problem+json", path
            assert answer.json()["type"].endswith("problem-unavailable")
        elif path != "/health/ready":
            assert "does not answer" in answer.text, path
            assert "Content-Security-Policy" in answer.headers, path
    return wrong


def test_postgresql_away(postgresql_house: House, caplog: pytest.LogCaptureFixture) -> None:
    house = postgresql_house
    house.lose()
    assert check(house, READS + WRITES) == {}
    assert house.client.get("/health/live").status_code == 200
    assert house.client.get("/sign-in").status_code in (200, 303, 503)
    assert "Traceback" not in caplog.text
    house.find()
    assert house.client.get("/api/v1/me", headers=PROGRAM).status_code == 200
    assert house.client.post("/api/v1/messages", headers=PROGRAM, json=DRAFT).status_code == 202


def test_a_postgresql_that_swallows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and never says a word: nobody waits for it longer than our patience."""
    monkeypatch.setitem(db.PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me:x@127.0.0.1:{silent.getsockname()[1]}/crm"
        with TestClient(create_app(CrmSettings(data_dir=tmp_path, database_url=SecretStr(url)))) as client:
            answer = client.get("/api/v1/me", headers=PROGRAM)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_sqlite_locked(sqlite_house: House, caplog: pytest.LogCaptureFixture) -> None:
    """WAL lets others read; who writes is told."""
    house = sqlite_house
    house.lose()
    assert check(house, WRITES) == {}
    assert "Traceback" not in caplog.text
    house.find()
    assert house.client.post("/api/v1/messages", headers=PROGRAM, json=DRAFT).status_code == 202


@pytest.mark.parametrize(
    "problem",
    [
        PoolTimeout("QueuePool limit"),
        OperationalError("SELECT", None, sqlite_error("SQLITE_IOERR_READ")),
        sqlite_error("SQLITE_CANTOPEN"),
    ],
    ids=["pool", "disk", "sandbox"],
)
@pytest.mark.parametrize("path", ["/messages", "/api/v1/messages"])
def test_other_ways_of_being_away(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch, problem: Exception, path: str
) -> None:

    def away(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("crm_api.messages.service.list_page", away)
    answer = sqlite_house.client.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write what is read-only")
def test_sqlite_read_only(sqlite_house: House, tmp_path: Path) -> None:
    for file in tmp_path.glob("posthaste.sqlite*"):
        file.chmod(0o444)
    assert check(sqlite_house, WRITES) == {}


def test_a_defect_is_still_a_defect(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lane")

    monkeypatch.setattr("crm_api.messages.service.list_page", broken)
    with pytest.raises(KeyError):
        sqlite_house.client.get("/api/v1/messages")
