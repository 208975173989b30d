"""Headers that go with every page: nothing from elsewhere runs, loads, frames or is told where we are."""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = "/static/"  # the folder of our own files (crm_api.web.static_files)
# {ours}: where our own scripts, styles and fonts lie. Not 'self', or a file that somebody has uploaded could be one
_POLICY = (
    "default-src 'self'; script-src {ours}; style-src {ours}; font-src {ours}; img-src {ours} data:; "
    "connect-src 'self'; frame-src 'self'; worker-src 'none'; manifest-src 'none'; media-src 'none'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# a path follows a host only (CSP Level 3, section 2.3.1), so the policy names ours; an IPv6 address cannot stand there
_HOST = re.compile(rb"[a-z0-9.-]{1,253}(:[0-9]{1,5})?", re.IGNORECASE)
# a mail's own HTML, in a frame: its styles, its inline pictures, and nothing else
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-dns-prefetch-control", b"off"),  # a link in a mail would be looked up before anybody clicks it
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), browsing-topics=()"),
    (b"cache-control", b"no-store"),  # nothing of who was signed in lies anywhere for the next at the same browser
]
# from then on this browser asks for nothing of us without encryption
_BY_HTTPS = (b"strict-transport-security", b"max-age=31536000")

# Browsers connect to a frame's server before they ask the policy whether they may, and to where <link> points without
# asking: that would tell a mail's sender that it is looked at, when, and from where.
_CONNECTS = re.compile(r"<(?=(?:link|i?frame|frameset|fencedframe|object|embed|portal)\b)", re.IGNORECASE)


def mail_page(html: str) -> HTMLResponse:
    """A mail's own HTML, for a sandboxed frame."""
    harmless = _CONNECTS.sub("<x-", html)
    return HTMLResponse(harmless, headers={"Content-Security-Policy": MAIL_POLICY, "Cache-Control": "no-store"})


class SecurityHeaders:
    """A page that sets its own policy keeps it. public_url: where people reach the pages, if the settings say it."""

    def __init__(self, app: ASGIApp, public_url: str | None = None) -> None:
        self.app, self._public = app, urlsplit(public_url or "").netloc.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_missing(message["headers"], scope, self._public)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def secured(response: Response, scope: Scope) -> Response:
    """For what is answered outside of all middleware: defects."""
    response.raw_headers.extend(_missing(response.raw_headers, scope))
    return response


def _missing(there: Iterable[tuple[bytes, bytes]], scope: Scope, public: bytes = b"") -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in there}
    ours = [header for header in _HEADERS if header[0] not in names]
    if b"content-security-policy" not in names:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        ours.append((b"content-security-policy", _policy(host, public)))
    return [*ours, _BY_HTTPS] if scope["scheme"] == "https" else ours


@lru_cache(100)
def _policy(host: bytes, public: bytes) -> bytes:
    """host: as the request names it, which is how the browser knows us; a proxy may have put another in its place, and
    people come by the public one."""
    hosts = [each.decode().lower() for each in dict.fromkeys((host, public)) if _HOST.fullmatch(each)]
    ours = " ".join(f"{each}{STATIC}" for each in hosts) or "'self'"
    return _POLICY.format(ours=ours).encode()
