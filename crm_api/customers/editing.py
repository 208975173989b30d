"""The forms of a new customer and of a customer's details. Those of the people there: contact_pages.py."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.auth.principal import Principal
from crm_api.customers import service
from crm_api.customers.changed_by import archived_by, changed_by, removed_by
from crm_api.customers.checks import CUSTOMER_FIELDS, clean
from crm_api.customers.contact_pages import router as contact_router
from crm_api.customers.models import Customer
from crm_api.customers.pasted import taken_apart
from crm_api.customers.views import form_values
from crm_api.customers.words import same_look
from crm_api.db import Database
from crm_api.deps import DatabaseDep
from crm_api.edits import Change, EditConflict
from crm_api.errors import Invalid, NotFound
from crm_api.web.forms import Form, Typed, edit_of, form_again, form_id, form_showing, form_with_clashes
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)
router.include_router(contact_router)

FIELDS = (*CUSTOMER_FIELDS, "tags")


def _form(
    request: Request, form: Form, customer: Customer | None, archived: bool = False, gone: Change | None = None
) -> Response:
    return render(
        request,
        "customers/edit.html",
        status=409 if gone else form.status,
        form=form,
        customer=customer,
        archived=archived,
        gone=gone,
    )


@router.get("/customers/new")
def new_customer(request: Request, _: SignedIn, email: Annotated[str, Query(max_length=254)] = "") -> Response:
    return _form(request, Form({"email": email}), None)


@router.post("/customers")
def create_customer(request: Request, principal: SignedIn, database: DatabaseDep, typed: Typed) -> Response:
    values = {name: typed.get(name, "") for name in CUSTOMER_FIELDS}
    known = form_id(typed.get("form", ""))
    try:
        values = taken_apart(values, {})
        customer = _once(database, principal, values, _tags(typed.get("tags", "")), known)
    except Invalid as problem:
        form = form_again(typed, FIELDS, problem)
        return _form(request, replace(form, values=form.values | {"form": str(known or "")}), None)
    return redirect(f"/customers/{customer.id}", Toast(f"{customer.name} is added."))


def _once(
    database: Database, principal: Principal, values: dict[str, str], tags: list[str], known: UUID | None
) -> Customer:
    """Added, unless this very form has added it. An id that was somebody else's, or is deleted, is not used again."""
    for last in (False, True):
        try:
            with database.write() as session:
                there = session.get(Customer, known) if known else None
                if there and there.owner_id == principal.user_id and _is(there, values):
                    return there
                fresh = known and not there and not removed_by(session, known)
                return service.create(session, principal, values, tags, known if fresh else None)
        except IntegrityError:  # the same form a second time, at the same moment
            if last:
                raise
    raise AssertionError("the second try has answered")


def _is(customer: Customer, values: dict[str, str]) -> bool:
    """Who goes back, writes something else and sends it means another one."""
    return all(getattr(customer, name) == value for name, value in clean(values, CUSTOMER_FIELDS).items())


@router.get("/customers/{customer_id}/edit")
def edit_customer(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.read() as session:
        customer, values = _kept(session, customer_id)
    return _form(request, form_showing(values), customer, customer.archived)


@router.post("/customers/{customer_id}/edit")
def update_customer(
    request: Request, principal: SignedIn, database: DatabaseDep, customer_id: UUID, typed: Typed
) -> Response:
    """Writes what the person changed. What others changed meanwhile stays; the same field twice is asked about."""
    edit = edit_of(typed, FIELDS)
    tags, had = _tags(edit.values.get("tags", "")), _tags(edit.seen.get("tags", ""))
    whole = tags if "tags" in edit.values and "tags" not in edit.seen else None
    fields = {name: value for name, value in edit.values.items() if name != "tags"}
    try:
        fields = taken_apart(fields, typed)
        with database.write() as session:
            customer = service.update(
                session,
                principal,
                customer_id,
                fields,
                whole,
                seen=edit.seen,
                add_tags=[name for name in tags if name not in had] if whole is None else (),
                remove_tags=[name for name in had if name not in tags],
            )
    except (Invalid, EditConflict) as problem:
        with database.read() as session:
            customer, kept = _kept(session, customer_id)
            if isinstance(problem, Invalid):
                form = form_again(typed, FIELDS, problem)
            else:
                merged = _merged(_tags(kept["tags"]), had, tags) if "tags" in edit.values else kept["tags"]
                changed = changed_by(session, customer_id)
                form = form_with_clashes(typed | {"tags": merged}, kept, problem.clashes, changed)
        return _form(request, form, customer, typed.get("archived") == "yes")
    except NotFound:
        with database.read() as session:
            gone = removed_by(session, customer_id)
        if gone is None:
            raise
        return _form(request, Form({name: typed.get(name, "") for name in FIELDS}), None, gone=gone)
    return redirect(f"/customers/{customer_id}", _archived_since(database, typed, customer))


def _archived_since(database: DatabaseDep, typed: Typed, customer: Customer) -> Toast | None:
    """Said if it happened while the form was open."""
    if not customer.archived or typed.get("archived") != "no":
        return None
    with database.read() as session:
        change = archived_by(session, customer.id)
    by = change.by if change else "Somebody"
    return Toast("Saved.", f"{by} has archived {customer.name} in the meantime.", link="", trouble=True)


def _kept(session: Session, customer_id: UUID) -> tuple[Customer, dict[str, str]]:
    customer = service.get(session, customer_id)
    return customer, form_values(customer, service.tags_of(session, [customer_id])[customer_id])


def _merged(kept: list[str], had: list[str], tags: list[str]) -> str:
    """What others made of the tags, and what this person added and removed."""
    return ", ".join(dict.fromkeys([*(name for name in kept if name not in had or name in tags), *tags]))


def _tags(text: str) -> list[str]:
    """As they are typed, each once, in small letters; what a tag may be is checked by the service."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := same_look(part))))
