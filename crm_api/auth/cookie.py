"""The cookie of a signed-in browser."""

from starlette.requests import Request
from starlette.responses import Response

from crm_api.auth.service import ABSOLUTE


def _name(request: Request) -> str:
    # browsers do not tell ports apart: two copies on one machine would sign each other out
    name = f"posthaste-{request.app.state.settings.port}"
    return f"__Host-{name}" if request.url.scheme == "https" else name


def token_of(request: Request) -> str | None:
    return request.cookies.get(_name(request))


def set_token(request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        _name(request),
        token,
        max_age=int(ABSOLUTE.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def clear_token(request: Request, response: Response) -> None:
    response.delete_cookie(
        _name(request), path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )
