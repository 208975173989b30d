"""Somebody who can sign in."""

from __future__ import annotations

from functools import cache

from sqlmodel import Session

from crm_api.auth.models import User
from crm_api.auth.passwords import hash_password

EMAIL = "ida@holt-trees.example"
PASSWORD = "seeds and trees"
KEY = "ph_" + "k" * 43


@cache
def hashed(password: str) -> str:  # Argon2 is slow on purpose; once is enough for all tests
    return hash_password(password)


def add_user(session: Session, email: str = EMAIL, name: str = "Ida Holt", password: str = PASSWORD) -> User:
    user = User(email=email, name=name, role="admin", password_hash=hashed(password))
    session.add(user)
    session.flush()
    return user
