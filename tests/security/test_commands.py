"""What is printed from the table of roles, and what helps when nobody gets in any more."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.audit.models import AuditEntry
from crm_api.auth.command import second_factor_off, sign_in_link
from crm_api.auth.models import User
from crm_api.auth.roles_table import as_markdown
from crm_api.db import Database
from crm_api.settings import CrmSettings
from shared.clock import now
from tests.support.people import EMAIL, PASSWORD

DOCS = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def test_the_docs_have_the_table_as_it_is() -> None:
    found = re.search(r"<!-- roles -->\n(.*)<!-- /roles -->", DOCS.read_text(), re.DOTALL)
    assert found
    assert found[1] == as_markdown(), "python -m crm_api roles prints what belongs there"


def test_a_link_from_the_command_line(visitor: TestClient, user: User, settings: CrmSettings) -> None:
    link = sign_in_link(settings, f" {EMAIL.upper()} ")
    assert link.startswith("http://127.0.0.1:8000/links/")
    password = "plums and apples and pears"
    assert visitor.post(link.removeprefix(settings.base_url), data={"password": password}).status_code == 303
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": password}).status_code == 303


def test_without_the_telephone(visitor: TestClient, user: User, settings: CrmSettings, database: Database) -> None:
    with database.write() as session:
        session.get_one(User, user.id).totp_secret = "A" * 32
        session.get_one(User, user.id).totp_since = now()
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 200
    assert EMAIL in second_factor_off(settings, EMAIL)
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
    with database.read() as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "user.second_factor_off")).one()
    assert (entry.actor, entry.via) == ("command line", "command")


def test_nobody_of_that_name(settings: CrmSettings, database: Database) -> None:
    with pytest.raises(SystemExit, match="no user nobody@example"):
        sign_in_link(settings, "nobody@example.com")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 81}, "http://127.0.0.1:81"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"public_url": "https://crm.example.com/"}, "https://crm.example.com"),
    ],
)
def test_where_links_lead(given: dict[str, object], expected: str) -> None:
    assert CrmSettings(**given).base_url == expected  # type: ignore[arg-type]
