"""A guard of speed: what a click asks of the database, and that clicks which wait together share one commit."""

import asyncio
from typing import Any

import pytest

from crm_api import hot
from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Intake, Request
from crm_api.messages.schemas import MessageDraft
from shared.clock import now
from tests.support.crm import Crm
from tests.support.intake import taken_together
from tests.support.statements import counted


class Driver:
    """Notes what the driver's connection is asked; an executemany is one statement, as it is one journey."""

    def __init__(self, connection: Any, said: list[str]) -> None:
        self._connection, self._said = connection, said

    def execute(self, statement: str, *values: Any) -> Any:
        self._said.append(statement.split()[0])
        return self._connection.execute(statement, *values)

    def executemany(self, statement: str, rows: list[Any]) -> Any:
        if rows:
            self._said.append(statement.split()[0])
        return self._connection.executemany(statement, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first word of each statement on the hot connection."""
    words: list[str] = []
    made = hot.Hot.__init__

    def noted(self: hot.Hot, driver: Any, *more: Any) -> None:
        made(self, Driver(driver, words), *more)

    monkeypatch.setattr(hot.Hot, "__init__", noted)
    return words


def click(crm: Crm, number: int = 1) -> Request:
    draft = {"to": [{"email": f"r{number}@example.com"}], "subject": "Saplings", "text": "On Thursday."}
    return Request(MessageDraft.model_validate(draft), crm.principal, now(), lambda plan: str(plan.id))


async def test_a_click_is_one_look_and_one_commit(crm: Crm, said: list[str]) -> None:
    intake = Intake(crm.database, crm.files, crm.settings)
    intake.start()
    try:
        with counted(crm.database) as others:
            await intake.take(click(crm))
    finally:
        await asyncio.to_thread(intake.close)
    assert others == []
    told = ["INSERT"] if crm.database.sqlite else ["SELECT"]  # a row for who polls, or NOTIFY
    rows = ["INSERT"] * 4  # message, delivery, what they are found by, and the audit
    assert said == ["SELECT", "BEGIN", *rows, *told, "COMMIT"]


async def test_clicks_that_wait_together_share_a_commit(crm: Crm, said: list[str]) -> None:
    answers = await taken_together(crm, [click(crm, number) for number in range(50)])
    assert len({answer.message_id for answer in answers if isinstance(answer, Answer)}) == 50
    assert said.count("COMMIT") == said.count("BEGIN") == 1
    assert said[0] == "SELECT"
    assert "SELECT" not in said[1:-2]
