"""The product's own click, which only validates and answers: nothing is stored.

Same web server, same middleware, same sign-in, same draft, same checks, same answer; what it lacks is the commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from crm_api.__main__ import keep_out_of_garbage_collection
from crm_api.app import create_app
from crm_api.hot import Hot
from crm_api.messages.idempotency import Answer, Key
from crm_api.messages.intake import Intake
from crm_api.messages.planning import Plan
from crm_api.settings import CrmSettings
from shared.settings import load


class Validates(Intake):
    def _store(self, hot: Hot, plans: Sequence[Plan], answers: Sequence[tuple[Key, Answer]]) -> None:
        """Does not."""


def app() -> FastAPI:
    made = create_app(load(CrmSettings))
    made.state.intake = Validates(made.state.database, made.state.files, made.state.settings)
    keep_out_of_garbage_collection()
    return made
