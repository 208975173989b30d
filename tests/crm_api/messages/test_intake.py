"""Messages that are stored in one commit share its cost, not each other's mistakes."""

import pytest

from crm_api.messages import intake as intake_module
from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Request
from crm_api.messages.schemas import MessageDraft
from shared.clock import now
from tests.support.crm import Crm
from tests.support.intake import taken_together


async def test_one_that_crashes_planning_fails_alone(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = intake_module.plan

    def crashes(*given: object) -> object:
        if any(isinstance(one, MessageDraft) and one.subject == "Poison" for one in given):
            raise RuntimeError("boom")
        return planned(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(intake_module, "plan", crashes)
    first, poison, last = await taken_together(
        crm, [written(crm, subject) for subject in ("Saplings", "Poison", "Shears")]
    )
    assert isinstance(first, Answer)
    assert isinstance(poison, RuntimeError)
    assert isinstance(last, Answer)


def written(crm: Crm, subject: str) -> Request:
    draft = {"to": [{"email": "ada@example.com"}], "subject": subject, "text": "On Thursday."}
    return Request(MessageDraft.model_validate(draft), crm.principal, now(), lambda plan: str(plan.id))
