"""A toast: what just happened, to whom, and how to undo it. It survives one redirect in a cookie.

What comes back in the cookie may be anybody's work: it is text, a way back of one of two forms, and a page of ours, or
it is no toast.
"""

import re
from dataclasses import asdict, dataclass

from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from crm_api.packed import pack, unpack
from crm_api.web.cookies import clear_cookie, get_cookie, set_cookie
from crm_api.web.local_url import here

COOKIE = "toast"
_SECONDS_KEPT = 60
_MAX_CHARACTERS = 120  # a cookie is small, and a toast is short
_MAX_COOKIE = 4096
_MAX_UNDO_SECONDS = 300
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UNDO = re.compile(rf"/messages/{_ID}/undo|/customers/{_ID}/restore")


@dataclass(frozen=True)
class Toast:
    """undo: where to POST to take it back, for undo_seconds. link: a page that shows more, with its word."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", str_max_length=1000)

    title: str
    text: str = ""
    undo: str = ""
    undo_seconds: int = 0
    link: str = ""
    link_word: str = "Show"
    trouble: bool = False


class ToastRedirect(RedirectResponse):
    """303 after a form; the next page shows the toast."""

    def __init__(self, url: str, toast: Toast | None = None) -> None:
        super().__init__(url, 303)
        self._toast = toast

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._toast:
            set_cookie(Request(scope), self, COOKIE, _written(self._toast), _SECONDS_KEPT)
        await super().__call__(scope, receive, send)


def redirect(url: str, toast: Toast | None = None) -> Response:
    return ToastRedirect(url, toast)


def _written(toast: Toast) -> str:
    short = asdict(toast) | {"title": toast.title[:_MAX_CHARACTERS], "text": toast.text[:_MAX_CHARACTERS]}
    return pack(short)


def kept(request: Request) -> Toast | None:
    """The toast that the last answer left; None if there is none, or if the cookie holds anything else."""
    value = get_cookie(request, COOKIE)
    if not value:
        return None
    try:
        toast = unpack(value, Toast, _MAX_COOKIE)
    except ValueError:
        return None
    fits = (
        max(len(toast.title), len(toast.text)) <= _MAX_CHARACTERS
        and 0 <= toast.undo_seconds <= _MAX_UNDO_SECONDS
        and (not toast.undo or _UNDO.fullmatch(toast.undo))
        and (not toast.link or toast.link == here(toast.link))
    )
    return toast if fits else None


def forget(request: Request, response: Response) -> None:
    clear_cookie(request, response, COOKIE)
