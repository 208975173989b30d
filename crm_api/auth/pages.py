"""/sign-in and /sign-out."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from crm_api.auth.cookie import clear_token, set_token, token_of
from crm_api.auth.deps import SignedIn
from crm_api.auth.door import address_of
from crm_api.auth.passwords import MAX_PASSWORD_CHARACTERS
from crm_api.auth.service import TooManyTries, sign_in, sign_out, who_has_session
from crm_api.deps import DatabaseDep
from crm_api.web.pages import here
from crm_api.web.templates import render
from crm_api.web.words import plural
from shared.clock import now

router = APIRouter(include_in_schema=False)


def _page(request: Request, next_page: str, email: str = "", error: str | None = None, status: int = 200) -> Response:
    response = render(request, "auth/sign_in.html", status=status, next_page=next_page, email=email, error=error)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.get("/sign-in")
def sign_in_page(request: Request, database: DatabaseDep, next: str = "/") -> Response:
    token = token_of(request)
    if token and who_has_session(database, token):
        return RedirectResponse(here(next), 303)
    return _page(request, here(next))


@router.post("/sign-in")
def sign_in_with_password(
    request: Request,
    database: DatabaseDep,
    email: Annotated[str, Form(max_length=1000)] = "",
    password: Annotated[str, Form(max_length=MAX_PASSWORD_CHARACTERS)] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    try:
        token = sign_in(database, email, password, address_of(request), token_of(request))
    except TooManyTries as problem:
        seconds = max(1, math.ceil((problem.again_at - now()).total_seconds()))
        wait = plural(math.ceil(seconds / 60), "minute")
        response = _page(request, here(next), email, f"Too many tries. Try again in {wait}.", 429)
        response.headers["Retry-After"] = str(seconds)
        return response
    if token is None:
        return _page(request, here(next), email, "This email and this password do not belong together.", 401)
    response = RedirectResponse(here(next), 303)
    set_token(request, response, token)
    return response


@router.post("/sign-out")
def sign_out_here(request: Request, database: DatabaseDep, _: SignedIn) -> Response:
    if token := token_of(request):
        with database.write() as session:
            sign_out(session, token)
    response = RedirectResponse("/sign-in", 303)
    clear_token(request, response)
    return response
