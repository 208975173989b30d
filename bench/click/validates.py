"""The product's own click, which only validates and answers: nothing is stored.

Same web server, same middleware, same sign-in, same draft, same checks, same answer; what it lacks is the commit.
"""

from __future__ import annotations

from concurrent.futures import Future

from fastapi import FastAPI

from crm_api.__main__ import keep_out_of_garbage_collection
from crm_api.app import create_app
from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Intake, Request
from crm_api.settings import CrmSettings
from shared.settings import load


class Validates(Intake):
    def take(self, request: Request) -> Future[Answer]:
        with self._database.read() as session:
            plan = self._plan(session, request)
        request.settle(Answer(plan.id, request.tell(plan)))
        return request.answer


def app() -> FastAPI:
    made = create_app(load(CrmSettings))
    made.state.intake = Validates(made.state.database, made.state.files, made.state.settings)
    keep_out_of_garbage_collection()
    return made
