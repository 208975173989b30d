"""`python -m crm_api databases`: a PostgreSQL user for the CRM and one for the mail rooms, each with its own database.

A mail room sees the ledger and nothing of the CRM's customers, messages and accounts; the CRM cannot write what was
sent. May be run at every start, also on databases that one user had for both: what is there changes hands.
"""

import logging
import time
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import Field, SecretStr, field_validator

from shared.database_urls import DatabaseUrl, read_database_url
from shared.hardening import weak_password, weakness
from shared.settings import PosthasteSettings

log = logging.getLogger("databases")

WAIT_SECONDS = 120  # for a server that is being started
PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 10
CRM, MAIL_ROOM = "crm", "mailroom"  # the users
Connection = psycopg.Connection[tuple[Any, ...]]

# tables, sequences and views of the schema; indexes and types go with their tables
_OWNED = """
SELECT c.oid::regclass::text, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(c.relowner) <> %s
"""


class DatabasesSettings(PosthasteSettings):
    database_admin_url: SecretStr = Field(
        SecretStr(""),
        description="the CRM's PostgreSQL database, with the name and password of one who may make users; only for "
        "`python -m crm_api databases`, like the next three",
    )
    crm_database_password: SecretStr | None = Field(None, description="of PostgreSQL's user crm")
    mailroom_database_password: SecretStr | None = Field(None, description="of PostgreSQL's user mailroom")
    ledger_database: str = Field(
        "ledger", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="name of the mail rooms' database"
    )

    @field_validator("database_admin_url")
    @classmethod
    def _is_a_server(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and read_database_url(url.get_secret_value()).file:
            raise ValueError("it is for PostgreSQL: of an SQLite file the owner is its user")
        return url

    @property
    def server(self) -> DatabaseUrl:
        return read_database_url(self.database_admin_url.get_secret_value())

    @property
    def passwords(self) -> dict[str, str]:
        """user → password, of those that are given."""
        given = {CRM: self.crm_database_password, MAIL_ROOM: self.mailroom_database_password}
        return {user: password.get_secret_value() for user, password in given.items() if password}

    def weaknesses(self) -> dict[str, str | None]:
        each = {f"{user}_database_password": weakness(password, user) for user, password in self.passwords.items()}
        administrator = None
        if self.database_admin_url.get_secret_value():
            administrator = weak_password(self.server.user, self.server.password, needed=False)
        return super().weaknesses() | each | {"database_admin_url": administrator}


class DatabasesRefused(SystemExit):
    """They could not be made; says why."""


def set_up(settings: DatabasesSettings) -> None:
    """Raises DatabasesRefused."""
    if not settings.database_admin_url.get_secret_value() or len(settings.passwords) < 2:
        raise DatabasesRefused(
            "Give POSTHASTE_DATABASE_ADMIN_URL, POSTHASTE_CRM_DATABASE_PASSWORD and "
            "POSTHASTE_MAILROOM_DATABASE_PASSWORD."
        )
    try:
        with closing(_connected(settings.server.plain)) as server:
            for user, password in settings.passwords.items():
                _user(server, user, password)
            _database(server, settings.ledger_database)
            ours = {server.info.dbname: CRM, settings.ledger_database: MAIL_ROOM}
            for name, user in ours.items():
                _give(server, name, user)
        for name, user in ours.items():
            with closing(_connected(settings.server.plain, name)) as database:
                _hand_over(database, user)
    except psycopg.Error as problem:
        raise DatabasesRefused(f"PostgreSQL does not do it: {problem}") from None
    log.info("databases and users are there", extra={"databases": ", ".join(ours)})


def _connected(url: str, database: str | None = None) -> Connection:
    """Waits for the server, not for a password to become right."""
    deadline = time.monotonic() + WAIT_SECONDS
    there = make_conninfo(url, connect_timeout=CONNECT_SECONDS, **({"dbname": database} if database else {}))
    while True:
        try:
            return psycopg.connect(there, autocommit=True)
        except psycopg.OperationalError as problem:
            if "authentication failed" in str(problem) or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def _user(server: Connection, name: str, password: str) -> None:
    """May sign in, and nothing else. What is sent is not the password, so that no log of statements holds it."""
    sealed = server.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    there = server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = sql.SQL("ALTER" if there else "CREATE")
    rights = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS")
    server.execute(
        sql.SQL("{} ROLE {} WITH {} PASSWORD {}").format(verb, sql.Identifier(name), rights, sql.Literal(sealed))
    )


def _database(server: Connection, name: str) -> None:
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _give(server: Connection, database: str, user: str) -> None:
    """It alone may connect, beside the server's administrators."""
    it, them = sql.Identifier(database), sql.Identifier(user)
    # the owner of a database may let others in: that stays the administrator's
    server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(it))
    for other in {CRM, MAIL_ROOM} - {user}:
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(it, sql.Identifier(other)))
    server.execute(sql.SQL("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}").format(it, them))


def _hand_over(database: Connection, user: str) -> None:
    """What another user has made here belongs to this one: else it could not change its own tables."""
    them = sql.Identifier(user)
    with database.transaction():
        database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        database.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(them))
        for name, kind in database.execute(_OWNED, (user,)).fetchall():
            what = {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(str(kind), "TABLE")
            database.execute(sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(what), sql.SQL(str(name)), them))
