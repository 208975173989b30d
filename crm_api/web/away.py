"""A database that does not answer is said as such (503, Retry-After), wherever it was asked: by the door as by a page.

Stands around all that asks it. What is raised below, and is no Problem of its own, comes by here.
"""

import logging

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.errors import Unavailable, answer
from crm_api.faults import is_away

log = logging.getLogger("web")


class DatabaseAway:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = complete = False

        async def watched(message: Message) -> None:
            nonlocal begun, complete
            begun = True
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as problem:
            if scope["type"] != "http" or not is_away(problem) or (begun and not complete):
                raise
            log.error("the database does not answer: %s", getattr(problem, "orig", problem))
            if not begun:  # else it was work that is done after the answer
                away = Unavailable("The database does not answer. Nothing was done; try again in a moment.")
                await answer(Request(scope), away)(scope, receive, send)
