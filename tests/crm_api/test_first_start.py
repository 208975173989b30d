"""`python -m crm_api migrate`, as it is run at every start."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from crm_api.auth.keys import who_has_key
from crm_api.auth.models import ApiKey, User
from crm_api.auth.service import Visitor, sign_in
from crm_api.customers.models import Contact, Customer, CustomerEntry
from crm_api.customers.service import list_page
from crm_api.db import Database
from crm_api.sandbox.scripts import NONE, script_of
from shared.addresses import clean_address
from tests.support.databases import ROOT


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """A database without any table."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/new/posthaste.sqlite"
    import psycopg

    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database_url


def migrate(url: str, folder: Path, **settings: str) -> str:
    """What it prints to standard output. The working directory is not the project's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    given = {f"POSTHASTE_{name}": value for name, value in settings.items()}
    env = (
        inherited | {"PYTHONPATH": str(ROOT), "POSTHASTE_DATA_DIR": str(folder), "POSTHASTE_DATABASE_URL": url} | given
    )
    done = subprocess.run(
        [sys.executable, "-m", "crm_api", "migrate"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _database(url: str) -> Database:
    return Database(url.replace("postgresql://", "postgresql+psycopg://"))


def test_a_first_start_from_nothing_and_a_second(empty_url: str, tmp_path: Path) -> None:
    said = migrate(empty_url, tmp_path, SAMPLES="1", API_KEY="ph_first-key", ADMIN_EMAIL="Boss@Example.com")
    line = re.fullmatch(r"administrator boss@example\.com password (\S{20,})\n", said)
    assert line
    database = _database(empty_url)
    assert sign_in(database, "boss@example.com", line[1], Visitor()) is not None
    assert (who := who_has_key(database, "ph_first-key")) is not None
    assert who.email == "boss@example.com"
    with database.read() as session:
        _check_samples(session)
        before = session.exec(select(Customer.id).order_by(col(Customer.id))).all()
    with database.write() as session:
        session.delete(session.exec(select(CustomerEntry).limit(1)).one())
    assert migrate(empty_url, tmp_path, SAMPLES="1", API_KEY="ph_second-key", ADMIN_PASSWORD="another") == ""
    with database.read() as session:
        assert session.exec(select(Customer.id).order_by(col(Customer.id))).all() == before
        assert len(session.exec(select(User)).all()) == 1
        assert len(session.exec(select(ApiKey)).all()) == 2
    assert sign_in(database, "boss@example.com", line[1], Visitor()) is not None, "the password stays"
    database.close()


def _check_samples(session: Session) -> None:
    people = session.exec(select(Customer)).all()
    assert len(people) == 24
    assert all(clean_address(person.email) == person.email for person in people)
    assert all(person.email.endswith((".example", "@example.com")) for person in people), "nobody real"
    assert sum(script_of(person.email) != NONE for person in people) == 4
    assert all(clean_address(contact.email) for contact in session.exec(select(Contact)))
    notes = session.exec(select(CustomerEntry).order_by(col(CustomerEntry.id))).all()
    assert [note.at for note in notes] == sorted(note.at for note in notes), "time lines are in order"
    first, _ = list_page(session, sort="written", limit=1)
    assert first[0].name == "Marta Lindqvist"


def test_a_given_password_is_not_printed(empty_url: str, tmp_path: Path) -> None:
    assert migrate(empty_url, tmp_path, ADMIN_PASSWORD="trees and seeds") == ""
    database = _database(empty_url)
    assert sign_in(database, "admin@posthaste.example", "trees and seeds", Visitor()) is not None
    with database.read() as session:
        assert session.exec(select(Customer)).all() == []
    database.close()


def test_several_at_once_make_one(empty_url: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda _: migrate(empty_url, tmp_path, SAMPLES="1", API_KEY="ph_key"), range(3)))
    assert sum(bool(line) for line in said) == 1
    database = _database(empty_url)
    with database.read() as session:
        assert len(session.exec(select(User)).all()) == 1
        assert len(session.exec(select(ApiKey)).all()) == 1
        assert len(session.exec(select(Customer)).all()) == 24
    database.close()
