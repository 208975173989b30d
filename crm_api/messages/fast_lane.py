"""POST /api/v1/messages without a router's and a dependency solver's work, which cost more than all the rest of it.

Only for what it understands at once. A request of another form goes on to the route in api.py, which knows how to say
what is wrong with it; both end in the same function.
"""

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.auth.guard import allow
from crm_api.errors import Problem, answer
from crm_api.messages.api import create_message
from crm_api.messages.idempotency import MAX_CHARACTERS
from crm_api.messages.schemas import MessageDraft

PATH = "/api/v1/messages"
ROUTE = f"POST {PATH}"
LARGEST = 64 * 1024  # bytes: what is parsed here is parsed at once


class FastLane:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if (
            headers.get(b"content-type") != b"application/json"
            or not length.isdigit()
            or int(length) > LARGEST
            or len(headers.get(b"idempotency-key", b"")) > MAX_CHARACTERS
        ):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            allow(request, ROUTE)  # no route's guard stands on this way
        except Problem as problem:
            await answer(request, problem)(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:
            return  # nobody is there to be told
        try:
            draft = MessageDraft.model_validate_json(body)
        except ValidationError:
            await self.app(scope, _once_more(body, receive), send)
            return
        key = headers.get(b"idempotency-key")
        try:
            response = await create_message(
                draft, request.state.principal, request.app.state.intake, key.decode("latin-1") if key else None
            )
        except Problem as problem:
            response = answer(request, problem)
        await response(scope, receive, send)


def _once_more(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever else comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again
