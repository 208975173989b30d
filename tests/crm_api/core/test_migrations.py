"""Upgrade from nothing, and the models match the migrations, on both databases."""

import json
from pathlib import Path
from uuid import UUID

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import DateTime, bindparam, inspect, text
from sqlmodel import select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import OneTimeLink
from crm_api.db import Database
from crm_api.messages.models import Delivery
from crm_api.models import metadata
from shared.clock import now
from shared.fields import NOT_SHOWN
from tests.support.crm import Crm

MIGRATIONS = Path(__file__).resolve().parents[3] / "alembic"


def test_the_models_match_the_migrations(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_every_table_is_there(database: Database) -> None:
    tables = set(inspect(database.engine).get_table_names())
    assert tables == {*metadata.tables, "alembic_version"}


def test_the_migrations_folder_is_no_package() -> None:
    assert not (MIGRATIONS / "__init__.py").exists(), "it would shadow the library"


def test_secrets_that_lay_in_the_clear_are_taken_out(crm: Crm) -> None:
    """Of what has ended at once; what is still under way waits for dispatch, who has the key."""
    database = crm.database
    ended, under_way, redirected = (crm.delivery(crm.send(f"r{n}@x.example").id).id for n in range(3))
    _to(database, "0008")
    with database.write() as session:
        for number, (delivery, state) in enumerate(((ended, "failed"), (under_way, "queued"), (redirected, "queued"))):
            secret = json.dumps({"name": "Ida", "secret_link": f"http://here/links/clear-{number}"})
            session.execute(
                text("UPDATE delivery SET fields = :fields, state = :state WHERE id = :id"),
                {"fields": secret, "state": state, "id": _id(database, delivery)},
            )
            row = {"hash": hash_of(f"clear-{number}"), "user": _id(database, crm.principal.user_id), "at": now()}
            session.execute(
                text(
                    "INSERT INTO one_time_link (token_hash, user_id, kind, created_at, expires_at) "
                    "VALUES (:hash, :user, 'invite', :at, :at)"
                ).bindparams(bindparam("at", type_=DateTime(timezone=True))),
                row,
            )
    _to(database, "head")
    with database.read() as session:
        links = {link.token_hash: link for link in session.exec(select(OneTimeLink))}
        assert links.keys() == {hash_of("clear-1"), hash_of("clear-2")}, "the failed one's is gone"
        assert links[hash_of("clear-1")].delivery_id == under_way
        assert links[hash_of("clear-1")].address == crm.principal.email
        fields = {row.id: row.fields for row in session.exec(select(Delivery))}
    assert fields[ended] == {"name": "Ida", "secret_link": NOT_SHOWN}
    assert fields[under_way]["secret_link"].endswith("clear-1")
    if database.sqlite:
        database.close()
        path = Path(database.url.removeprefix("sqlite:///"))
        assert not any(b"clear-0" in part.read_bytes() for part in path.parent.glob(f"{path.name}*"))


def _id(database: Database, made: UUID) -> str:
    return made.hex if database.sqlite else str(made)


def _to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", database.url.replace("%", "%%"))
    if revision == "head":
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)


def test_down_to_the_first_and_up_again_with_somebody_in_it(database: Database, user: object) -> None:
    """What is there stays, though others refer to it."""
    _to(database, "0001")
    _to(database, "head")
    with database.read() as session:
        assert (
            session.execute(text("SELECT count(*) FROM api_key JOIN crm_user ON crm_user.id = user_id")).scalar() == 1
        )
