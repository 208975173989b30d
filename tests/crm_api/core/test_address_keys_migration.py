"""Rows from before there was one key for an address, and one tag for all that look the same."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlmodel import Session

from crm_api.auth.models import User
from crm_api.auth.service import clean_login
from crm_api.customers import service as customers
from crm_api.db import Database
from crm_api.messages import service as messages
from tests.support.crm import Crm

MIGRATIONS = Path(__file__).resolve().parents[3] / "alembic"
NFD = "bu\u0308cher"


@pytest.fixture
def migrate(database: Database) -> Callable[[str], None]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", database.url.replace("%", "%%"))

    def to(revision: str) -> None:
        (command.downgrade if revision == "0009" else command.upgrade)(config, revision)

    return to


def test_old_rows_get_their_keys(crm: Crm, migrate: Callable[[str], None]) -> None:
    message = crm.send("ida@bücher.example")
    first, second = crm.customer(email="Ida@Bücher.example"), crm.customer(email="ida@BÜCHER.example")
    migrate("0009")
    with crm.database.write() as session:
        _old_rows(session, first.id.hex if _is_sqlite(crm) else str(first.id))
        session.execute(text("DELETE FROM message_word WHERE word LIKE '%xn--%'"))
        session.execute(text("DELETE FROM message_words_waiting"))
    migrate("head")
    with crm.database.read() as session:
        assert _column(session, "SELECT name FROM tag ORDER BY name") == ["büro", "fin", "vip"]
        assert customers.tags_of(session, [first.id])[first.id] == ["büro", "fin", "vip"]
        assert _column(session, "SELECT reason FROM suppression ORDER BY address") == ["older", "plain"]
        assert _column(session, "SELECT address FROM suppression ORDER BY address") == [
            "ida@xn--bcher-kva.example",
            "olaf@example.com",
        ]
        kept = customers.get(session, first.id)
        assert kept.email_key == "ida@xn--bcher-kva.example"
        assert [each.id for each in customers.same_address(session, kept)] == [second.id]
        found, _ = customers.list_page(session, query="xn--bcher-kva.example")
        assert {each.id for each in found} == {first.id, second.id}
        emails = _column(session, "SELECT email FROM crm_user ORDER BY email")
        assert clean_login("Uwe@Bücher.example") in emails
        assert len(emails) == 4  # of two who would be one, the second keeps what it had
        rows, _ = messages.list_page(session, query="ida@xn--bcher")
        assert [row.id for row in rows] == [message.id]
    migrate("0009")
    migrate("head")


def _is_sqlite(crm: Crm) -> bool:
    return crm.database.url.startswith("sqlite")


def _column(session: Session, statement: str) -> list[str]:
    return list(session.execute(text(statement)).scalars())


def _old_rows(session: Session, customer: str) -> None:
    names = ["vip", "bu\u0308ro", "büro", "ﬁn", "v\u200bip", "ｖｉｐ"]
    for number, name in enumerate(names, start=100):
        session.execute(text("INSERT INTO tag (id, name) VALUES (:id, :name)"), {"id": number, "name": name})
        session.execute(
            text("INSERT INTO customer_tag (tag_id, customer_id) VALUES (:id, :customer)"),
            {"id": number, "customer": customer},
        )
    for day, address, reason in (
        (2, "ida@bücher.example", "newer"),
        (1, f"Ida@{NFD}.example", "older"),
        (3, "Olaf@example.com", "plain"),
    ):
        session.execute(
            text("INSERT INTO suppression (address, since, reason) VALUES (:address, :since, :reason)"),
            {"address": address, "since": f"2026-11-0{day} 10:00:00.000000+00:00", "reason": reason},
        )
    for email in ("uwe@bücher.example", f"uwe@{NFD}.example", "eva@example.com"):
        session.add(User(id=uuid4(), email=email, name="Uwe", password_hash=""))
