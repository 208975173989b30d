"""The product's own click, which only validates and answers: no thread, no transaction, nothing is stored.

Same web server, same middleware, same sign-in, same draft, same checks, same answer; what it lacks is everything
that keeps the message.
"""

from __future__ import annotations

from fastapi import FastAPI

from crm_api.__main__ import keep_out_of_garbage_collection
from crm_api.app import create_app
from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Intake, Request
from crm_api.settings import CrmSettings
from shared.settings import load


class Validates(Intake):
    async def take(self, request: Request) -> Answer:
        with self._database.read() as session:
            plan = self._plan(session, request)
        return Answer(plan.id, request.tell(plan))


def app() -> FastAPI:
    made = create_app(load(CrmSettings))
    made.state.intake = Validates(made.state.database, made.state.files, made.state.settings)
    keep_out_of_garbage_collection()
    return made
