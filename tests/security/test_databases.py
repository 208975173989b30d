"""Two users of PostgreSQL: a mail room sees the ledger only, and the CRM cannot write what was sent."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from crm_api.databases import DatabasesRefused, DatabasesSettings, set_up
from local.postgresql import Cluster
from local.product import ROOT
from shared.settings import SettingsError, load
from tests.support.stack import stack

LEDGER_TABLES = ("attempt", "ledger")


@dataclass(frozen=True)
class Databases:
    cluster: Cluster
    crm: str
    ledger: str
    passwords: dict[str, str]

    def settings(self, **changes: str) -> DatabasesSettings:
        given = {
            "database_admin_url": self.cluster.url_for(self.crm),
            "crm_database_password": self.passwords["crm"],
            "mailroom_database_password": self.passwords["mailroom"],
            "ledger_database": self.ledger,
        } | changes
        return DatabasesSettings(**given)  # type: ignore[arg-type]

    def url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{self.passwords[user]}@127.0.0.1:{self.cluster.port}/{database}"


@pytest.fixture
def databases(postgresql: Cluster) -> Iterator[Databases]:
    mark = secrets.token_hex(4)
    made = Databases(
        postgresql, f"crm_{mark}", f"ledger_{mark}", {user: secrets.token_hex(16) for user in ("crm", "mailroom")}
    )
    with psycopg.connect(postgresql.url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {made.crm}".encode())
        yield made
        for name in (made.crm, made.ledger):
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        for user in made.passwords:
            server.execute(f"DROP ROLE IF EXISTS {user}".encode())


def refused(url: str, statement: str) -> bool:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.OperationalError as problem:  # not even in
        return "permission denied for database" in str(problem)
    return False


def sends_one(databases: Databases, folder: Path, amqp_url: str) -> None:
    """The product, with these users; the mail room does not even know the CRM's URL."""
    ours, ledger = databases.url("crm", databases.crm), databases.url("mailroom", databases.ledger)
    with stack(folder, ours, amqp_url) as house:
        house.start("sandbox", "web", "dispatch")
        del house.environment["POSTHASTE_DATABASE_URL"]
        house.environment["POSTHASTE_LEDGER_URL"] = ledger
        house.start("mailroom")
        with house.api() as api:
            draft = {"to": [{"email": "ida@example.com"}], "subject": "Saplings", "text": "They leave."}
            made = api.post("/api/v1/messages", json=draft).json()["id"]
            done = api.get(f"/api/v1/messages/{made}", params={"wait": 60}).json()
            assert done["deliveries"][0]["state"] == "accepted"


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


def test_neither_sees_what_is_the_others(databases: Databases, amqp_url: str, tmp_path: Path) -> None:
    set_up(databases.settings())
    sends_one(databases, tmp_path / "data", amqp_url)
    admin = databases.cluster.url_for
    assert len(tables(admin(databases.crm))) > 10
    assert sorted(tables(admin(databases.ledger))) == sorted(LEDGER_TABLES)

    assert refused(databases.url("mailroom", databases.crm), "SELECT 1"), "it may not even connect"
    assert refused(databases.url("crm", databases.ledger), "SELECT 1")
    assert not refused(databases.url("mailroom", databases.ledger), "SELECT * FROM attempt")
    for user, database in (("mailroom", databases.ledger), ("crm", databases.crm)):
        for statement in ("CREATE DATABASE more", "CREATE ROLE eve", "ALTER ROLE crm SUPERUSER", "SET ROLE posthaste"):
            assert refused(databases.url(user, database), statement), f"{user}: {statement}"


def test_should_somebody_let_it_in_it_still_sees_no_table(databases: Databases, tmp_path: Path, amqp_url: str) -> None:
    """Connecting is one lock, the tables are another."""
    set_up(databases.settings())
    sends_one(databases, tmp_path / "data", amqp_url)
    with psycopg.connect(databases.cluster.url, autocommit=True) as server:
        server.execute(f"GRANT CONNECT ON DATABASE {databases.crm} TO mailroom".encode())
        server.execute(f"GRANT CONNECT ON DATABASE {databases.ledger} TO crm".encode())
    for name in tables(databases.cluster.url_for(databases.crm)):
        for statement in (f'SELECT * FROM public."{name}"', f'DELETE FROM public."{name}"'):
            assert refused(databases.url("mailroom", databases.crm), statement), statement
    for name in LEDGER_TABLES:
        for statement in ("SELECT * FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"):
            what = statement.format(f"public.{name}")
            assert refused(databases.url("crm", databases.ledger), what), what


def test_databases_that_one_user_had_for_both_change_hands(databases: Databases, amqp_url: str, tmp_path: Path) -> None:
    """As a Compose volume from before: what is in them stays, and the next migration can change it."""
    admin = databases.cluster.url_for
    with psycopg.connect(databases.cluster.url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {databases.ledger}".encode())
    with stack(tmp_path / "before", admin(databases.crm), amqp_url, ledger_url=admin(databases.ledger)) as house:
        house.start("mailroom")
        house.stop()
    for _ in range(2):  # at every start
        set_up(databases.settings())
    for database, user in ((databases.crm, "crm"), (databases.ledger, "mailroom")):
        with psycopg.connect(admin(database)) as connection:
            owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(owners.encode()).fetchall() == [(user,)]
    sends_one(databases, tmp_path / "data", amqp_url)
    with psycopg.connect(databases.url("crm", databases.crm)) as connection:
        connection.execute("ALTER TABLE message ADD COLUMN tried text")


def test_passwords_are_exchanged_and_not_sent_as_they_are(databases: Databases) -> None:
    set_up(databases.settings())
    other = secrets.token_hex(16)
    set_up(databases.settings(crm_database_password=other))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(databases.url("crm", databases.crm))
    databases.passwords["crm"] = other
    psycopg.connect(databases.url("crm", databases.crm)).close()
    with psycopg.connect(databases.cluster.url) as server:
        kept = server.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'crm'").fetchone()
    assert kept is not None
    assert str(kept[0]).startswith("SCRAM-SHA-256$")


def test_what_is_missing_is_said(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatabasesRefused, match="POSTHASTE_MAILROOM_DATABASE_PASSWORD"):
        set_up(databases.settings(mailroom_database_password=None))  # type: ignore[arg-type]
    wrong = databases.cluster.url_for(databases.crm).replace("posthaste:", "posthaste:not-", 1)
    with pytest.raises(DatabasesRefused, match="authentication failed") as problem:
        set_up(databases.settings(database_admin_url=wrong))
    assert "not-" not in str(problem.value)
    monkeypatch.setenv("POSTHASTE_DATABASE_ADMIN_URL", "sqlite:////tmp/x.sqlite")
    with pytest.raises(SettingsError, match="it is for PostgreSQL"):
        load(DatabasesSettings)


def test_the_command(databases: Databases, tmp_path: Path) -> None:
    settings = databases.settings()
    given = {
        f"POSTHASTE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if name.endswith(("database_password", "admin_url", "ledger_database"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "crm_api", "databases"],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "databases and users are there" in done.stderr) == (0, True), done.stderr
    psycopg.connect(databases.url("mailroom", databases.ledger)).close()
