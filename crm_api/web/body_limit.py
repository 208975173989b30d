"""Requests larger than anything the settings allow are refused before they fill memory or disk.

Who is not signed in has nothing to send but a name and a password, and gets no room for more; nor is there room for
attachments where none are taken.
"""

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.errors import Invalid, TooLarge, answer
from crm_api.settings import CrmSettings

OTHER_BYTES = 1024 * 1024  # names, addresses and fields of all recipients
STRANGERS_BYTES = 64 * 1024
UPLOADS = {"/api/v1/messages", "/api/v1/files", "/messages", "/messages/compose", "/messages/files"}
# codecs of other names can be made to take very long, or to make texts that nothing can be stored as
_UTF8 = re.compile(r"""[^;]*(;(?!\s*charset\b)[^;]*)*(;\s*charset\s*=\s*"?utf-?8"?\s*(;.*)?)?""", re.IGNORECASE)


def largest_request(settings: CrmSettings) -> int:
    """Bytes: all attachments in base64 inside JSON, the letter, and the rest."""
    return settings.max_attachments_bytes * 4 // 3 + 4 * settings.max_body_bytes + OTHER_BYTES


def _in_utf8(content_type: str) -> bool:
    """Forms are UTF-8, as their pages are: browsers name no character set with them."""
    return not content_type.lower().startswith("multipart/") or _UTF8.fullmatch(content_type) is not None


def ordinary_request(settings: CrmSettings) -> int:
    """The same without attachments, as a form that has three characters for most signs."""
    return 4 * settings.max_body_bytes + OTHER_BYTES


class BodyLimit:
    """most: bytes of a request with attachments; ordinary: of any other."""

    def __init__(self, app: ASGIApp, most: int, ordinary: int) -> None:
        self.app, self.most, self.ordinary = app, most, ordinary

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        here = self.most if scope["path"] in UPLOADS else self.ordinary
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > here:
            await answer(request, _refusal(here))(scope, receive, send)
            return
        if not _in_utf8(request.headers.get("content-type", "")):
            await answer(request, Invalid("Send forms in UTF-8, without a charset."))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            # a body without a length is counted while it comes
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            # the door stands between here and whoever reads
            most = here if "principal" in scope.get("state", ()) else min(STRANGERS_BYTES, here)
            if seen > most:
                # the one kind of error that FastAPI lets through while it reads a body
                refusal = _refusal(most)
                raise HTTPException(refusal.status, refusal.detail)
            return message

        await self.app(scope, counted, send)


def _refusal(most: int) -> TooLarge:
    return TooLarge(f"A request has at most {most:,} bytes.")
