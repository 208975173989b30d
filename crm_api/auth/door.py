"""The closed door: nobody comes in but those who are signed in, and no other site acts in their name.

It stands before routing and before any body is read, so a route that nobody thought of is closed, too.
"""

from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from crm_api.auth import access
from crm_api.auth.cookie import token_of
from crm_api.auth.hashing import hash_of
from crm_api.auth.keys import who_has_key
from crm_api.auth.known import KnownKeys
from crm_api.auth.principal import Principal
from crm_api.auth.roles import OPEN, OPEN_FOLDERS
from crm_api.auth.service import who_has_session
from crm_api.db import Database
from crm_api.errors import Forbidden, NotSignedIn, Problem, answer

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Door:
    """Puts the Principal into `request.state.principal`, or answers 401 or 403 itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._known = KnownKeys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            await self._let_in(request)
        except Problem as problem:
            await answer(request, problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _let_in(self, request: Request) -> None:
        authorization = request.headers.get("Authorization")
        # a key in a header is never sent along by a browser on its own; everything else may be
        if authorization is None and request.method not in _SAFE_METHODS and from_another_site(request):
            raise Forbidden("This request came from another site. Open the page here and do it again.")
        path = request.scope["path"]
        if path in OPEN or path.startswith(OPEN_FOLDERS):
            return
        principal = await self._who(request, authorization)
        if principal is None:
            raise NotSignedIn(
                "This API key is none, or it was revoked."
                if authorization is not None
                else "Sign in first, or send an API key: Authorization: Bearer ph_…"
            )
        request.state.principal = principal

    async def _who(self, request: Request, authorization: str | None) -> Principal | None:
        if authorization is None:
            return await run_in_threadpool(look_up, request) if token_of(request) else None
        key = _key_in(authorization)
        return await self._who_has_key(request.app.state.database, key, address_of(request)) if key else None

    async def _who_has_key(self, database: Database, key: str, address: str) -> Principal | None:
        name = hash_of(key), address
        if known := self._known.get(name):
            return known
        version = access.version()
        principal = await run_in_threadpool(who_has_key, database, key, address)
        if principal:
            self._known.put(name, principal, version)
        return principal


def look_up(request: Request) -> Principal | None:
    """Who asks, as the database knows them now and nothing remembers them."""
    database, address = request.app.state.database, address_of(request)
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        key = _key_in(authorization)
        return who_has_key(database, key, address) if key else None
    token = token_of(request)
    return who_has_session(database, token, address) if token else None


def _key_in(authorization: str) -> str | None:
    scheme, _, key = authorization.partition(" ")
    return (key.strip() or None) if scheme.lower() == "bearer" else None


def address_of(request: Request) -> str:
    """Where the request came from."""
    return request.client.host if request.client else ""


def from_another_site(request: Request) -> bool:
    """By Sec-Fetch-Site; by Origin where a browser is too old to send that. Neither: it is no browser."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != request.headers.get("Host")
    except ValueError:  # no browser's: a bracket that is not closed
        return True
