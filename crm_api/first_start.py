"""`migrate`: the newest tables, and what a first start needs: someone to sign in, a first key, sample customers.

May be run at every start, and by several processes at once.
"""

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlmodel import Session, select

from crm_api.audit.record import record
from crm_api.auth.keys import add_key
from crm_api.auth.models import User
from crm_api.auth.passwords import hash_password, make_up_password
from crm_api.auth.principal import COMMAND_LINE
from crm_api.auth.roles import Role
from crm_api.auth.sealing import seal_of
from crm_api.auth.second_factor import seal_all
from crm_api.auth.service import clean_login
from crm_api.customers.samples import add_samples
from crm_api.db import Database
from crm_api.settings import CrmSettings

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).resolve().parent.parent / "alembic"
_LOCK = 0x706F7374  # any number, the same in every process: PostgreSQL's advisory lock


def migrate_and_fill(settings: CrmSettings) -> None:
    with _alone(settings.database):
        upgrade(settings.database)
        database = Database(settings.database)
        try:
            with database.write() as session:
                made_up = _fill(session, settings)
        finally:
            database.close()
    if made_up:
        print(f"administrator {clean_login(settings.admin_email)} password {made_up}", flush=True)


def upgrade(url: str) -> None:
    """`alembic upgrade head`, from any working directory."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """One process at a time, on this machine (SQLite) or on all of them (PostgreSQL)."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///") + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed when the file is closed, however the process ends
            yield
        return
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield


def _fill(session: Session, settings: CrmSettings) -> str | None:
    """The administrator's password if it was made up here."""
    made_up = None
    email = clean_login(settings.admin_email)
    administrator = session.exec(select(User).where(User.email == email)).one_or_none()
    if administrator is None and session.exec(select(User).limit(1)).first() is None:
        if settings.admin_password is None:
            made_up = make_up_password()
        password = made_up or settings.admin_password.get_secret_value()  # type: ignore[union-attr]
        administrator = User(email=email, name="Administrator", role="admin", password_hash=hash_password(password))
        session.add(administrator)
        session.flush()
        record(session, COMMAND_LINE, "user.added", administrator.id, email, role=Role.admin)
        log.info("administrator added", extra={"email": email})
    keeper = administrator or session.exec(select(User).where(User.role == "admin").limit(1)).first()
    if settings.api_key and keeper:
        key = add_key(session, keeper, "from POSTHASTE_API_KEY", settings.api_key.get_secret_value())
        if key in session.new:
            session.flush()
            record(session, COMMAND_LINE, "key.made", key.id, key.name, prefix=key.prefix)
    if sealed := seal_all(session, seal_of(settings)):
        log.info("second factors sealed", extra={"count": sealed})
    if settings.samples:
        add_samples(session)
    return made_up
