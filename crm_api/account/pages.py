"""/account: one's own password, sessions and second factor."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import Response

from crm_api.account import service
from crm_api.account.browsers import words_for
from crm_api.auth import second_factor
from crm_api.auth.cookie import set_token, token_of
from crm_api.auth.deps import SignedIn
from crm_api.auth.hashing import hash_of
from crm_api.auth.pages import Password, visitor_of
from crm_api.auth.roles import ROLE_WORDS, Role
from crm_api.auth.sealing import Seal
from crm_api.auth.service import sessions_of
from crm_api.db import Database
from crm_api.deps import DatabaseDep, SealDep
from crm_api.errors import Invalid
from crm_api.openid.service import link_of
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect
from crm_api.web.words import plural

router = APIRouter(include_in_schema=False)

HOME = "/account"
Code = Annotated[str, Form(max_length=100)]


@router.get(HOME)
def account(request: Request, signed_in: SignedIn, database: DatabaseDep) -> Response:
    return _page(request, signed_in, database)


def _page(request: Request, by: Any, database: Database, problem: Invalid | None = None) -> Response:
    settings = request.app.state.settings
    with database.read() as session:
        user = service.me(session, by)
        visits = sessions_of(session, user.id)
        codes = second_factor.codes_left(session, user)
        link = link_of(session, user, settings.openid_issuer)
    token = token_of(request)
    return render(
        request,
        "account/account.html",
        status=422 if problem else 200,
        user=user,
        role_words=ROLE_WORDS[Role(user.role)],
        sessions=visits,
        here=hash_of(token) if token else None,
        words_for=words_for,
        codes=codes,
        link=link,
        openid=settings.openid_label if settings.openid_issuer else None,
        openid_only=settings.openid_only,
        errors={error.field: error.message for error in problem.errors} if problem else {},
    )


@router.post("/account/password")
def change_password(
    request: Request, signed_in: SignedIn, database: DatabaseDep, old: Password = "", new: Password = ""
) -> Response:
    try:
        token = service.change_password(database, signed_in, old, new, visitor_of(request))
    except Invalid as problem:
        return _page(request, signed_in, database, problem)
    response = redirect(HOME, Toast("Your password is changed.", "Everywhere else you are signed out."))
    set_token(request, response, token)
    return response


@router.post("/account/sessions/end")
def end_other_sessions(request: Request, signed_in: SignedIn, database: DatabaseDep) -> Response:
    with database.write() as session:
        ended = service.end_other_sessions(session, signed_in, token_of(request))
    return redirect(HOME, Toast("Signed out everywhere else.", f"{plural(ended, 'session')} ended."))


@router.post("/account/sessions/{handle}/end")
def end_session(signed_in: SignedIn, database: DatabaseDep, handle: Annotated[str, Path(max_length=64)]) -> Response:
    with database.write() as session:
        service.end_session(session, signed_in, handle)
    return redirect(HOME, Toast("Signed out there."))


@router.get("/account/second-factor")
def second_factor_page(request: Request, signed_in: SignedIn, database: DatabaseDep, seal: SealDep) -> Response:
    return _enrol(request, signed_in, database, seal)


def _enrol(request: Request, by: Any, database: Database, seal: Seal, problem: Invalid | None = None) -> Response:
    with database.write() as session:
        user, secret = service.begin_second_factor(session, seal, by)
    uri = second_factor.uri(user, secret)
    groups = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return _unkept(
        render(
            request,
            "account/second_factor.html",
            status=422 if problem else 200,
            qr=second_factor.qr_code(uri),
            uri=uri,
            secret=groups,
            error=problem.errors[0].message if problem else None,
        )
    )


def _unkept(response: Response) -> Response:
    """What stands on it is shown once: it stays in no cache."""
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/account/second-factor")
def turn_on(request: Request, signed_in: SignedIn, database: DatabaseDep, seal: SealDep, code: Code = "") -> Response:
    try:
        with database.write() as session:
            codes = service.confirm_second_factor(session, seal, signed_in, code)
    except Invalid as problem:
        return _enrol(request, signed_in, database, seal, problem)
    return _unkept(render(request, "account/codes.html", codes=codes, fresh=True))


@router.get("/account/second-factor/off")
def ask_off(request: Request, _: SignedIn) -> Response:
    return render(request, "account/off.html", error=None)


@router.post("/account/second-factor/off")
def turn_off(request: Request, signed_in: SignedIn, database: DatabaseDep, password: Password = "") -> Response:
    try:
        service.prove(database, signed_in, password)
    except Invalid as problem:
        return render(request, "account/off.html", status=422, error=problem.detail)
    with database.write() as session:
        service.turn_off_second_factor(session, signed_in)
    return redirect(HOME, Toast("The second factor is off.", "Your password alone signs you in."))


@router.post("/account/second-factor/codes")
def new_codes(request: Request, signed_in: SignedIn, database: DatabaseDep, password: Password = "") -> Response:
    try:
        service.prove(database, signed_in, password, "codes")
    except Invalid as problem:
        return _page(request, signed_in, database, problem)
    with database.write() as session:
        codes = service.new_codes(session, signed_in)
    return _unkept(render(request, "account/codes.html", codes=codes, fresh=False))
