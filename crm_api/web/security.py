"""Headers that go with every page: nothing from elsewhere runs, loads, frames or is told where we are."""

import re
from collections.abc import Iterable

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'"
)
# a mail's own HTML, in a frame: its styles, its inline pictures, and nothing else
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-dns-prefetch-control", b"off"),  # a link in a mail would be looked up before anybody clicks it
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), browsing-topics=()"),
    (b"cache-control", b"private, no-cache"),  # of who was signed in, no cache on the way keeps anything
]
# from then on this browser asks for nothing of us without encryption
_BY_HTTPS = (b"strict-transport-security", b"max-age=31536000")

# Browsers connect to a frame's server before they ask the policy whether they may, and to where <link> points without
# asking: that would tell a mail's sender that it is looked at, when, and from where.
_CONNECTS = re.compile(r"<(?=(?:link|i?frame|frameset|fencedframe|object|embed|portal)\b)", re.IGNORECASE)


def mail_page(html: str) -> HTMLResponse:
    """A mail's own HTML, for a sandboxed frame."""
    harmless = _CONNECTS.sub("<x-", html)
    return HTMLResponse(
        harmless, headers={"Content-Security-Policy": MAIL_POLICY, "Cache-Control": "private, no-cache"}
    )


class SecurityHeaders:
    """A page that sets its own policy keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_missing(message["headers"], scope["scheme"])]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def secured(response: Response, scheme: str) -> Response:
    """For what is answered outside of all middleware: defects."""
    response.raw_headers.extend(_missing(response.raw_headers, scheme))
    return response


def _missing(there: Iterable[tuple[bytes, bytes]], scheme: str) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in there}
    ours = [header for header in _HEADERS if header[0] not in names]
    return [*ours, _BY_HTTPS] if scheme == "https" else ours
