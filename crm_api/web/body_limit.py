"""Requests larger than anything the settings allow are refused before they fill memory or disk.

Who is not signed in has nothing to send but a name and a password, and gets no room for more.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.errors import TooLarge, answer
from crm_api.settings import CrmSettings

OTHER_BYTES = 1024 * 1024  # names, addresses and fields of all recipients
STRANGERS_BYTES = 64 * 1024


def largest_request(settings: CrmSettings) -> int:
    """Bytes: all attachments in base64 inside JSON, the letter, and the rest."""
    return settings.max_attachments_bytes * 4 // 3 + 4 * settings.max_body_bytes + OTHER_BYTES


class BodyLimit:
    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self.most:
            await answer(request, _refusal(self.most))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            # a body without a length is counted while it comes
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            # the door stands between here and whoever reads
            most = self.most if "principal" in scope.get("state", ()) else min(STRANGERS_BYTES, self.most)
            if seen > most:
                # the one kind of error that FastAPI lets through while it reads a body
                refusal = _refusal(most)
                raise HTTPException(refusal.status, refusal.detail)
            return message

        await self.app(scope, counted, send)


def _refusal(most: int) -> TooLarge:
    return TooLarge(f"A request has at most {most:,} bytes.")
