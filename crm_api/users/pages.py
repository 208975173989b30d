"""/users: who may come in, and as what."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from crm_api.account.service import turn_off_second_factor
from crm_api.auth.deps import SignedIn
from crm_api.auth.models import User
from crm_api.auth.principal import Principal
from crm_api.auth.roles import ROLE_WORDS, VERBS, is_role_for
from crm_api.db import Database
from crm_api.deps import DatabaseDep, FilesDep, SettingsDep
from crm_api.edits import EditConflict
from crm_api.errors import Invalid
from crm_api.keys.service import keys_of
from crm_api.openid.service import link_of
from crm_api.paging import Cursor
from crm_api.users import service
from crm_api.web.forms import Form as EditForm
from crm_api.web.forms import Typed, address_of, edit_of, form_again, form_showing, form_with_clashes
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect
from crm_api.web.words import plural

router = APIRouter(include_in_schema=False)

FIELDS = ("name", "role")
Text = Annotated[str, Form(max_length=1000)]


@router.get("/users")
def users(request: Request, _: SignedIn, database: DatabaseDep, cursor: Cursor = None) -> Response:
    with database.read() as session:
        found, following = service.list_page(session, cursor)
        seen = service.last_seen(session, found)
    return render(
        request,
        "users/list.html",
        users=found,
        seen=seen,
        condition=service.condition,
        next=f"/users?cursor={following}" if following else None,
        first="/users" if cursor else None,
    )


def _new(request: Request, typed: dict[str, str], problem: Invalid | None = None) -> Response:
    errors = {error.field: error.message for error in problem.errors} if problem else {}
    status = 422 if problem else 200
    return render(
        request, "users/new.html", status=status, typed=typed, errors=errors, roles=ROLE_WORDS, table=_table()
    )


def _table() -> list[tuple[str, list[bool]]]:
    """What each role may do, as rows for people."""
    return [(verb.says, [is_role_for(role, verb) for role in ROLE_WORDS]) for verb in VERBS if verb.roles]


@router.get("/users/new")
def new_user(request: Request, _: SignedIn) -> Response:
    return _new(request, {"email": "", "name": "", "role": "agent"})


@router.post("/users")
def invite(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    files: FilesDep,
    settings: SettingsDep,
    email: Text = "",
    name: Text = "",
    role: Text = "",
) -> Response:
    try:
        with_it, address = address_of(email)
        with database.write() as session:
            user = service.add(session, signed_in, address, name.strip() or with_it, role)
            service.invite(session, files, settings, signed_in, user.id)
    except Invalid as problem:
        return _new(request, {"email": email, "name": name, "role": role}, problem)
    return redirect(f"/users/{user.id}", Toast("The invitation is on its way.", f"To {user.email}, for three days."))


@router.get("/users/{user_id}")
def user(request: Request, signed_in: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    return _page(request, signed_in, database, user_id)


def _page(request: Request, by: Principal, database: Database, user_id: UUID, form: EditForm | None = None) -> Response:
    with database.read() as session:
        found = service.get(session, user_id)
        form = form or form_showing(_values(found))
        context: dict[str, Any] = {
            "user": found,
            "condition": service.condition(found),
            "seen_at": service.last_seen(session, [found]).get(found.id),
            "keys": keys_of(session, found.id),
            "is_me": found.id == by.user_id,
            "link": link_of(session, found, request.app.state.settings.openid_issuer),
            "openid": request.app.state.settings.openid_label,
        }
    return render(request, "users/user.html", status=form.status, form=form, roles=ROLE_WORDS, **context)


def _values(user: User) -> dict[str, str]:
    return {name: getattr(user, name) for name in FIELDS}


@router.post("/users/{user_id}")
def change(request: Request, signed_in: SignedIn, database: DatabaseDep, user_id: UUID, typed: Typed) -> Response:
    """Writes what the admin changed; what another one changed meanwhile stays, or is asked about."""
    edit = edit_of(typed, FIELDS)
    try:
        with database.write() as session:
            changed = service.change(
                session, signed_in, user_id, edit.values.get("name"), edit.values.get("role"), edit.seen
            )
    except Invalid as problem:
        return _page(request, signed_in, database, user_id, form_again(typed, FIELDS, problem))
    except EditConflict as problem:
        with database.read() as session:
            kept = _values(service.get(session, user_id))
            form = form_with_clashes(typed, kept, problem.clashes, service.changed_by(session, user_id))
        return _page(request, signed_in, database, user_id, form)
    disabled = " They are disabled, and cannot sign in." if changed.disabled_at else ""
    return redirect(f"/users/{user_id}", Toast("Saved.", f"{changed.name} is {changed.role}.{disabled}"))


@router.post("/users/{user_id}/invite")
def invite_again(
    signed_in: SignedIn, database: DatabaseDep, files: FilesDep, settings: SettingsDep, user_id: UUID
) -> Response:
    with database.write() as session:
        found = service.invite(session, files, settings, signed_in, user_id)
    what = "The invitation is on its way." if found.invited else "The link for a new password is on its way."
    return redirect(f"/users/{user_id}", Toast(what, f"To {found.email}."))


@router.get("/users/{user_id}/disable")
def ask_disable(request: Request, _: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    """The question on a page of its own, for browsers without JavaScript."""
    with database.read() as session:
        return render(request, "users/disable.html", user=service.get(session, user_id))


@router.post("/users/{user_id}/disable")
def disable(signed_in: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    with database.write() as session:
        name = service.disable(session, signed_in, user_id).name
    return redirect(f"/users/{user_id}", Toast(f"{name} is disabled.", "They are signed out everywhere."))


@router.post("/users/{user_id}/enable")
def enable(signed_in: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    with database.write() as session:
        name = service.enable(session, signed_in, user_id).name
    return redirect(f"/users/{user_id}", Toast(f"{name} may come in again."))


@router.post("/users/{user_id}/end-sessions")
def end_sessions(signed_in: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    with database.write() as session:
        ended = service.end_sessions(session, signed_in, user_id)
    return redirect(f"/users/{user_id}", Toast("Signed out everywhere.", f"{plural(ended, 'session')} ended."))


@router.post("/users/{user_id}/second-factor-off")
def second_factor_off(signed_in: SignedIn, database: DatabaseDep, user_id: UUID) -> Response:
    with database.write() as session:
        turn_off_second_factor(session, signed_in, user_id)
    return redirect(f"/users/{user_id}", Toast("The second factor is off.", "Their password alone signs them in."))
