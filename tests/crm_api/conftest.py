"""The real web application on a fresh database of each kind, with somebody to sign in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.auth.keys import add_key
from crm_api.auth.models import User
from crm_api.db import Database
from crm_api.settings import CrmSettings
from tests.support.crm import Crm, crm_of
from tests.support.people import EMAIL, KEY, PASSWORD, add_user


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> CrmSettings:
    return CrmSettings(data_dir=tmp_path, database_url=database_url)


@pytest.fixture
def database(settings: CrmSettings) -> Iterator[Database]:
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def user(database: Database) -> User:
    """Ida Holt, with EMAIL and PASSWORD, and the API key KEY."""
    with database.write() as session:
        user = add_user(session)
        add_key(session, user, "tests", KEY)
    return user


@pytest.fixture
def crm(settings: CrmSettings, database: Database, user: User) -> Crm:
    """The verbs themselves, without a web application; Ida is the one who clicks."""
    return crm_of(settings, database, user)


@pytest.fixture
def app(settings: CrmSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def visitor(app: FastAPI) -> Iterator[TestClient]:
    """A browser that is not signed in; redirects are not followed."""
    with TestClient(app, base_url="http://posthaste.example", follow_redirects=False) as client:
        yield client


@pytest.fixture
def browser(user: User, visitor: TestClient) -> TestClient:
    """A browser that has signed in through the form."""
    answer = visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return visitor


@pytest.fixture
def api(user: User, app: FastAPI) -> Iterator[TestClient]:
    """A program with an API key."""
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}, follow_redirects=False) as client:
        yield client
