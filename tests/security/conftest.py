"""The real web application, on SQLite and PostgreSQL, and somebody of each role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crm_api.auth.hashing import hash_of
from crm_api.auth.keys import add_key, make_key
from crm_api.auth.models import SignIn, User
from crm_api.auth.roles import Role
from crm_api.db import Database
from tests.crm_api.conftest import api, app, browser, crm, database, settings, user, visitor

__all__ = ["api", "app", "browser", "crm", "database", "settings", "user", "visitor"]

COOKIE = "posthaste-8000"


@dataclass
class Somebody:
    """One user who is signed in, and whose key may do all that they may."""

    user: User
    key: str
    token: str

    @property
    def with_key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def with_cookie(self) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.token}"}


def somebody(database: Database, role: str, name: str | None = None) -> Somebody:
    """Added without a password: nobody here signs in through the form."""
    key, token = make_key(), f"session of {name or role}"
    with database.write() as session:
        user = User(email=f"{name or role}@holt-trees.example", name=name or role, role=role, password_hash="x")
        session.add(user)
        session.flush()
        add_key(session, user, f"key of {name or role}", key)
        session.add(SignIn(token_hash=hash_of(token), user_id=user.id))
    return Somebody(user, key, token)


@pytest.fixture
def everybody(database: Database) -> dict[Role, Somebody]:
    return {role: somebody(database, role) for role in Role}


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Nobody in particular; each request says who it is."""
    with TestClient(app, base_url="http://posthaste.example", follow_redirects=False) as client:
        yield client
