"""The cookie of a signed-in browser, and the one that it has on its way to the OpenID provider."""

from starlette.requests import Request
from starlette.responses import Response

from crm_api.auth.known_browser import LIFE
from crm_api.auth.service import ABSOLUTE
from crm_api.web.cookies import clear_cookie, get_cookie, set_cookie


def _name(request: Request, what: str = "") -> str:
    # browsers do not tell ports apart: two copies on one machine would sign each other out
    return f"posthaste-{request.app.state.settings.port}{what}"


def token_of(request: Request) -> str | None:
    return get_cookie(request, _name(request))


def set_token(request: Request, response: Response, token: str) -> None:
    set_cookie(request, response, _name(request), token, int(ABSOLUTE.total_seconds()))


def clear_token(request: Request, response: Response) -> None:
    clear_cookie(request, response, _name(request))


_TRIP = "-openid"


def trip_of(request: Request) -> str | None:
    return get_cookie(request, _name(request, _TRIP))


def set_trip(request: Request, response: Response, sealed: str, seconds: int) -> None:
    """Lax, as it comes back with a link from the provider's site."""
    set_cookie(request, response, _name(request, _TRIP), sealed, seconds)


def clear_trip(request: Request, response: Response) -> None:
    clear_cookie(request, response, _name(request, _TRIP))


_KNOWN = "-browser"


def known_of(request: Request) -> str | None:
    return get_cookie(request, _name(request, _KNOWN))


def set_known(request: Request, response: Response, sealed: str) -> None:
    """It stays when somebody signs out: it says nothing but that they have been here."""
    set_cookie(request, response, _name(request, _KNOWN), sealed, int(LIFE.total_seconds()))
