"""Upgrade from nothing, and the models match the migrations, on both databases."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from crm_api.db import Database
from crm_api.models import metadata

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


def test_down_to_the_first_and_up_again_with_somebody_in_it(database: Database, user: object) -> None:
    """What is there stays, though others refer to it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", database.url.replace("%", "%%"))
    command.downgrade(config, "0001")
    command.upgrade(config, "head")
    with database.read() as session:
        assert (
            session.execute(text("SELECT count(*) FROM api_key JOIN crm_user ON crm_user.id = user_id")).scalar() == 1
        )
