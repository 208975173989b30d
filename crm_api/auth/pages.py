"""/sign-in with its second step, /sign-out, and the links that are mailed."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import text
from starlette.background import BackgroundTask

from crm_api.audit.record import record
from crm_api.auth import known_browser
from crm_api.auth.cookie import clear_token, known_of, set_known, set_token, token_of
from crm_api.auth.deps import SignedIn
from crm_api.auth.door import address_of
from crm_api.auth.passwords import MAX_PASSWORD_CHARACTERS
from crm_api.auth.service import Passed, Visitor, note_refusal, sign_in, sign_in_with_code, sign_out, who_has_session
from crm_api.auth.throttle import TooManyTries
from crm_api.auth.ways_back import ask_for_link, choose_password, whose_link
from crm_api.deps import DatabaseDep, FilesDep, SealDep, SettingsDep
from crm_api.errors import Invalid
from crm_api.limits import MAX_NEXT
from crm_api.web.local_url import here
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, forget, redirect
from crm_api.web.words import plural
from shared.clock import now

router = APIRouter(include_in_schema=False)

Password = Annotated[str, Form(max_length=MAX_PASSWORD_CHARACTERS)]
Email = Annotated[str, Form(max_length=1000)]
TypedEmail = Annotated[str, Query(max_length=1000)]
Token = Annotated[str, Form(max_length=200)]
Next = Annotated[str, Form(max_length=MAX_NEXT)]
Wish = Annotated[str, Query(max_length=MAX_NEXT)]
Mailed = Annotated[str, Path(max_length=200)]

TOO_LATE = "That took too long, or it was used already. Sign in once more."


def visitor_of(request: Request) -> Visitor:
    known = known_browser.read(request.app.state.seal, known_of(request))
    return Visitor(address_of(request), request.headers.get("User-Agent", ""), token_of(request), known)


def _page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    response = render(request, template, status=status, **context)
    response.headers["Cache-Control"] = "no-store"
    return response


def show_sign_in(request: Request, next_page: str, email: str = "", error: str = "", status: int = 200) -> Response:
    settings = request.app.state.settings
    return _page(
        request,
        "auth/sign_in.html",
        status,
        next_page=next_page,
        email=email,
        error=error,
        openid=settings.openid_label if settings.openid_issuer else None,
        openid_only=settings.openid_only,
    )


def show_code(request: Request, next_page: str, token: str, error: str = "", status: int = 200) -> Response:
    return _page(request, "auth/code.html", status, next_page=next_page, token=token, error=error)


def show_too_many(request: Request, problem: TooManyTries, next_page: str, email: str = "") -> Response:
    words, seconds = _wait(problem)
    response = show_sign_in(request, next_page, email, words, 429)
    response.headers["Retry-After"] = seconds
    return response


def _wait(problem: TooManyTries) -> tuple[str, str]:
    """What to say, and seconds for Retry-After."""
    seconds = max(1, math.ceil((problem.again_at - now()).total_seconds()))
    return f"Too many tries. Try again in {plural(math.ceil(seconds / 60), 'minute')}.", str(seconds)


@router.get("/sign-in")
def sign_in_page(request: Request, database: DatabaseDep, next: Wish = "/", email: TypedEmail = "") -> Response:
    token = token_of(request)
    if token and who_has_session(database, token):
        return RedirectResponse(here(next), 303)
    return show_sign_in(request, here(next), email[:320])


@router.post("/sign-in")
def sign_in_with_password(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    email: Email = "",
    password: Password = "",
    next: Next = "/",
) -> Response:
    if settings.openid_only:
        return show_sign_in(request, here(next), error="Nobody signs in with a password here.", status=403)
    try:
        passed = sign_in(database, email, password, visitor_of(request))
    except TooManyTries as problem:
        return show_too_many(request, problem, here(next), email)
    if passed is None:
        wrong = "This email and this password do not belong together."
        response = show_sign_in(request, here(next), email, wrong, 401)
        response.background = BackgroundTask(note_refusal, database, email, visitor_of(request))
        return response
    if passed.needs_code:
        return show_code(request, here(next), passed.token)
    return let_in(request, passed, next)


@router.post("/sign-in/code")
def sign_in_with_second_factor(
    request: Request, database: DatabaseDep, seal: SealDep, token: Token = "", code: Token = "", next: Next = "/"
) -> Response:
    try:
        passed = sign_in_with_code(database, seal, token, code, visitor_of(request))
    except LookupError:
        return show_sign_in(request, here(next), error=TOO_LATE, status=401)
    except TooManyTries as problem:
        words, seconds = _wait(problem)
        response = show_code(request, here(next), token, words, 429)
        response.headers["Retry-After"] = seconds
        return response
    if passed is None:
        what = "This code does not fit, or it was used already. The app shows a new one every half minute."
        return show_code(request, here(next), token, what, 401)
    return let_in(request, passed, next)


def let_in(request: Request, passed: Passed, next_page: str) -> Response:
    response = RedirectResponse(here(next_page), 303)
    set_token(request, response, passed.token)
    seal, known = request.app.state.seal, visitor_of(request).known
    set_known(request, response, known_browser.sealed(seal, known, passed.user_id))
    forget(request, response)  # a toast that waits is of whoever was here before
    return response


@router.post("/sign-out")
def sign_out_here(request: Request, database: DatabaseDep, signed_in: SignedIn) -> Response:
    if token := token_of(request):
        with database.write() as session:
            sign_out(session, token)
            record(session, signed_in, "user.signed_out", signed_in.user_id, signed_in.email)
    response = RedirectResponse("/sign-in", 303)
    clear_token(request, response)
    forget(request, response)
    # pages that the browser could show again by Back, and drafts (by HTTPS and on localhost: Clear Site Data, 3.1)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@router.get("/sign-in/forgot")
def forgot_page(request: Request, settings: SettingsDep, email: TypedEmail = "") -> Response:
    if settings.openid_only:
        return RedirectResponse("/sign-in", 303)
    return _page(request, "auth/forgot.html", email=email[:320], asked=False)


@router.post("/sign-in/forgot")
def forgot(
    request: Request, database: DatabaseDep, files: FilesDep, settings: SettingsDep, email: Email = ""
) -> Response:
    """Answers the same, and as fast, whether there is such an account: the work is done after the answer."""
    if settings.openid_only:
        return RedirectResponse("/sign-in", 303)
    with database.write() as session:  # who is told that it is on its way must not be told so in vain
        session.execute(text("SELECT 1"))
    response = _page(request, "auth/forgot.html", email=email.strip(), asked=True)
    response.background = BackgroundTask(ask_for_link, database, files, settings, email, visitor_of(request))
    return response


@router.get("/links/{token}")
def link_page(request: Request, database: DatabaseDep, token: Mailed) -> Response:
    """Opening it uses nothing up: programs that read mail do that, too."""
    return _link_page(request, database, token)


def _link_page(request: Request, database: DatabaseDep, token: str, error: str = "") -> Response:
    found = whose_link(database, token)
    if found is None:
        return _page(request, "auth/no_link.html", 404)
    user, kind = found
    return _page(
        request, "auth/choose_password.html", 422 if error else 200, user=user, kind=kind, token=token, error=error
    )


@router.post("/links/{token}")
def follow_link(request: Request, database: DatabaseDep, token: Mailed, password: Password = "") -> Response:
    try:
        user = choose_password(database, token, password, address_of(request))
    except Invalid as problem:
        return _link_page(request, database, token, problem.detail)
    if user is None:
        return _link_page(request, database, token)
    return redirect("/sign-in", Toast("Your password is set.", f"Sign in with it, as {user.email}."))
