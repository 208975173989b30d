"""A mail server that refuses us, as people see it: on a wide and a narrow page, by day and by night."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text
from sqlmodel import select

from crm_api.monitoring.models import Process
from shared.alarms import Alarm
from shared.clock import now
from tests.support.crm import Crm
from tests.support.pages import Visitor, complaints, sideways

REFUSED = "The mail server refuses our sign-in."
ADVICE = (
    "mail.example.com:587 said “535 5.7.8 Authentication credentials invalid”. Find out the right user name and "
    "password, and how the server wants us to sign in; put it into POSTHASTE_SMTP_URL and start the mail room again."
)


@pytest.fixture
def waiting(newcomer: Visitor, new_crm: Crm) -> str:
    """The page of a message that waits for a mail server that refuses us."""
    message = new_crm.send("ida@example.com")
    alarm = msgspec.to_builtins(Alarm("route", REFUSED, ADVICE, now() - timedelta(minutes=5)))
    with new_crm.database.write() as session:
        session.execute(text("UPDATE delivery SET state = 'queued', due_at = :at, queued_at = :at"), {"at": now()})
        for row in session.exec(select(Process)):
            row.seen_at = now() + timedelta(hours=1)
            if row.kind == "worker":
                row.data = row.data | {"route_state": f"paused: {REFUSED}", "alarms": [alarm]}
    return f"/messages/{message.id}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_is_said_and_can_be_read(newcomer: Visitor, waiting: str, width: int, dark: bool) -> None:
    for path in (waiting, "/messages", "/customers"):
        with newcomer.page(path, width=width, dark=dark) as page:
            banner = page.locator("#system-banner")
            assert REFUSED in banner.inner_text()
            assert "535 5.7.8" in banner.inner_text()
            assert page.locator("#truth").get_by_text("rests").is_visible()
            assert complaints(page) == []
            assert sideways(page) == []
            if path == waiting:
                assert REFUSED in page.locator(".why").inner_text()
