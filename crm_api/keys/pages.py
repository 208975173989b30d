"""/keys: what programs come in with."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import Field

from crm_api.auth.deps import SignedIn
from crm_api.auth.principal import Principal
from crm_api.auth.roles import BY_NAME, SCOPES
from crm_api.db import Database
from crm_api.deps import DatabaseDep
from crm_api.errors import Invalid
from crm_api.keys import service
from crm_api.paging import Cursor
from crm_api.users.service import list_page as list_users
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)

DAYS = {"30": "30 days", "90": "90 days", "365": "a year", "": "never"}
Text = Annotated[str, Form(max_length=1000)]


@router.get("/keys")
def keys(request: Request, signed_in: SignedIn, database: DatabaseDep, cursor: Cursor = None) -> Response:
    with database.read() as session:
        found, following = service.list_page(session, signed_in, cursor)
    return render(
        request,
        "keys/list.html",
        keys=found,
        condition=service.condition,
        next=f"/keys?cursor={following}" if following else None,
        first="/keys" if cursor else None,
    )


@router.get("/keys/new")
def new_key(request: Request, signed_in: SignedIn, database: DatabaseDep) -> Response:
    typed = {"name": "", "all": "", "scopes": ["messages.send"], "days": "365", "user_id": str(signed_in.user_id)}
    return _form(request, signed_in, database, typed)


def _form(
    request: Request, by: Principal, database: Database, typed: dict[str, Any], problem: Invalid | None = None
) -> Response:
    with database.read() as session:
        users = [user for user in list_users(session, limit=500)[0] if not user.disabled_at]
    return render(
        request,
        "keys/new.html",
        status=422 if problem else 200,
        typed=typed,
        errors={error.field: error.message for error in problem.errors} if problem else {},
        scopes=[BY_NAME[name] for name in SCOPES if by.may(name)],
        days=DAYS,
        users=users,
    )


@router.post("/keys")
def make(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    scopes: Annotated[list[Annotated[str, Field(max_length=100)]], Form(default_factory=list, max_length=100)],
    name: Text = "",
    all: Text = "",
    days: Text = "",
    user_id: Text = "",
) -> Response:
    typed = {"name": name, "all": all, "scopes": scopes, "days": days, "user_id": user_id}
    try:
        whose = UUID(user_id) if user_id else signed_in.user_id
        until = int(days) if days else None
    except ValueError:
        whose, until = signed_in.user_id, -1
    try:
        with database.write() as session:
            key, secret = service.make(session, signed_in, whose, name, None if all else scopes, until)
    except Invalid as problem:
        return _form(request, signed_in, database, typed, problem)
    response = render(request, "keys/made.html", key=key, secret=secret)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.get("/keys/{key_id}/revoke")
def ask_revoke(request: Request, signed_in: SignedIn, database: DatabaseDep, key_id: UUID) -> Response:
    with database.read() as session:
        return render(request, "keys/revoke.html", key=service.get(session, signed_in, key_id))


@router.post("/keys/{key_id}/revoke")
def revoke(signed_in: SignedIn, database: DatabaseDep, key_id: UUID) -> Response:
    with database.write() as session:
        name = service.revoke(session, signed_in, key_id).name
    return redirect("/keys", Toast(f"{name} is revoked.", "It opens nothing any more."))
