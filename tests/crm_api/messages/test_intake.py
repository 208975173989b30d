"""Messages that are stored in one commit share its cost, not each other's mistakes."""

import asyncio

import pytest

from crm_api.messages import intake as intake_module
from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Intake, Request
from crm_api.messages.schemas import MessageDraft
from shared.clock import now
from tests.support.crm import Crm


async def test_one_that_crashes_planning_fails_alone(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = intake_module.plan

    def crashes(*given: object) -> object:
        if any(isinstance(one, MessageDraft) and one.subject == "Poison" for one in given):
            raise RuntimeError("boom")
        return planned(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(intake_module, "plan", crashes)
    intake = Intake(crm.database, crm.files, crm.settings)
    intake._loop = asyncio.get_running_loop()  # they come before the thread looks
    waiting = [asyncio.create_task(intake.take(written(crm, subject))) for subject in ("Saplings", "Poison", "Shears")]
    await asyncio.sleep(0)
    intake.start()
    try:
        first, poison, last = await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await asyncio.to_thread(intake.close)
    assert isinstance(first, Answer)
    assert isinstance(poison, RuntimeError)
    assert isinstance(last, Answer)


def written(crm: Crm, subject: str) -> Request:
    draft = {"to": [{"email": "ada@example.com"}], "subject": subject, "text": "On Thursday."}
    return Request(MessageDraft.model_validate(draft), crm.principal, now(), lambda plan: str(plan.id))
