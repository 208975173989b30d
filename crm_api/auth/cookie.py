"""The cookie of a signed-in browser, and the one that it has on its way to the OpenID provider."""

from starlette.requests import Request
from starlette.responses import Response

from crm_api.auth.service import ABSOLUTE


def _is_secure(request: Request) -> bool:
    """By HTTPS now, or because people reach the pages so: a proxy that is not believed changes nothing about that."""
    return request.url.scheme == "https" or request.app.state.settings.base_url.startswith("https://")


def _name(request: Request, what: str = "") -> str:
    # browsers do not tell ports apart: two copies on one machine would sign each other out
    name = f"posthaste-{request.app.state.settings.port}{what}"
    return f"__Host-{name}" if _is_secure(request) else name


def token_of(request: Request) -> str | None:
    return request.cookies.get(_name(request))


def set_token(request: Request, response: Response, token: str) -> None:
    _set(request, response, _name(request), token, int(ABSOLUTE.total_seconds()))


def clear_token(request: Request, response: Response) -> None:
    _clear(request, response, _name(request))


_TRIP = "-openid"


def trip_of(request: Request) -> str | None:
    return request.cookies.get(_name(request, _TRIP))


def set_trip(request: Request, response: Response, sealed: str, seconds: int) -> None:
    """Lax, as it comes back with a link from the provider's site."""
    _set(request, response, _name(request, _TRIP), sealed, seconds)


def clear_trip(request: Request, response: Response) -> None:
    _clear(request, response, _name(request, _TRIP))


def _set(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=_is_secure(request)
    )


def _clear(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", httponly=True, samesite="lax", secure=_is_secure(request))
