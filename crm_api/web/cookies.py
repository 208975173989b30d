"""Cookies: whether they are Secure, what that makes of their names, and how one is set.

`__Host-`: a browser takes such a one only from this very host, by HTTPS, for all paths (RFC 6265bis, section 4.1.3.2),
so no other host of the same domain can put one of its own in its place.
"""

from starlette.requests import Request
from starlette.responses import Response


def is_secure(request: Request) -> bool:
    """By HTTPS now, or because people reach the pages so: a proxy that is not believed changes nothing about that."""
    base: str = request.app.state.settings.base_url
    return "https" in (request.scope["scheme"], base.partition(":")[0])


def name_of(request: Request, name: str) -> str:
    return f"__Host-{name}" if is_secure(request) else name


def get_cookie(request: Request, name: str) -> str | None:
    return request.cookies.get(name_of(request, name))


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """For the server only: no script reads it, and no other site's form or picture takes it along."""
    response.set_cookie(
        name_of(request, name),
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
    )


def clear_cookie(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(name_of(request, name), path="/", httponly=True, samesite="lax", secure=is_secure(request))
