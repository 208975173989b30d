"""A toast: what just happened, to whom, and how to undo it. It survives one redirect in a cookie."""

import base64
import binascii
import json
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

COOKIE = "toast"
_SECONDS_KEPT = 60
_MAX_CHARACTERS = 120  # a cookie is small, and a toast is short


@dataclass(frozen=True)
class Toast:
    """undo: where to POST to take it back, for undo_seconds. link: a page that shows more, with its word."""

    title: str
    text: str = ""
    undo: str = ""
    undo_seconds: int = 0
    link: str = ""
    link_word: str = "Show"
    trouble: bool = False


def redirect(url: str, toast: Toast | None = None) -> Response:
    """303 after a form; the next page shows the toast."""
    response = RedirectResponse(url, 303)
    if toast:
        keep(response, toast)
    return response


def keep(response: Response, toast: Toast) -> None:
    short = asdict(toast) | {"title": toast.title[:_MAX_CHARACTERS], "text": toast.text[:_MAX_CHARACTERS]}
    value = base64.urlsafe_b64encode(json.dumps(short).encode()).decode()
    response.set_cookie(COOKIE, value, max_age=_SECONDS_KEPT, httponly=True, samesite="lax")


def kept(request: Request) -> Toast | None:
    """The toast that the last answer left; None if there is none, or if the cookie holds anything else."""
    value = request.cookies.get(COOKIE)
    if not value:
        return None
    try:
        toast = Toast(**json.loads(base64.urlsafe_b64decode(value)))
    except (ValueError, TypeError, binascii.Error):
        return None
    local = all(not url or (url.startswith("/") and not url.startswith("//")) for url in (toast.undo, toast.link))
    return toast if local else None
