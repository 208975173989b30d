"""Migrations run against POSTHASTE_DATABASE_URL, or against the URL that a caller puts into the config."""

from typing import Any, Literal

from alembic import context
from sqlmodel.sql.sqltypes import AutoString

from crm_api.db import Database, UtcDateTime
from crm_api.models import metadata
from crm_api.settings import CrmSettings
from shared.settings import load

url = context.config.get_main_option("sqlalchemy.url") or load(CrmSettings).database


def plain_type(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A migration names SQLAlchemy's own types, so that it still runs when our classes have moved on."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    return False


def run() -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=database.sqlite,  # SQLite changes a table by copying it
            render_item=plain_type,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    database.close()


run()
