"""The forms of the people at a customer's."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.auth.principal import Principal
from crm_api.customers import service
from crm_api.customers.changed_by import changed_by, contact_removed_by
from crm_api.customers.checks import CONTACT_FIELDS
from crm_api.customers.models import Contact, Customer
from crm_api.customers.pasted import taken_apart
from crm_api.customers.views import form_values
from crm_api.db import Database
from crm_api.deps import DatabaseDep
from crm_api.edits import Change, EditConflict, same
from crm_api.errors import Invalid, NotFound
from crm_api.web.forms import (
    SOMEBODY,
    Form,
    Typed,
    edit_of,
    form_again,
    form_id,
    form_showing,
    form_with_clashes,
)
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)


def _form(
    request: Request,
    form: Form,
    customer: Customer,
    contact: Contact | None,
    *,
    gone: Change | None = None,
    changed: Change | None = None,
) -> Response:
    """gone: who removed the contact meanwhile. changed: who changed what was to be removed."""
    return render(
        request,
        "customers/contact.html",
        status=409 if gone or changed else form.status,
        form=form,
        customer=customer,
        contact=contact,
        gone=gone,
        changed=changed,
    )


@router.get("/customers/{customer_id}/contacts/new")
def new_contact(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.read() as session:
        customer = service.get(session, customer_id)
    return _form(request, Form({}), customer, None)


@router.post("/customers/{customer_id}/contacts")
def add_contact(
    request: Request, principal: SignedIn, database: DatabaseDep, customer_id: UUID, typed: Typed
) -> Response:
    values = {name: typed.get(name, "") for name in CONTACT_FIELDS}
    known = form_id(typed.get("form", ""))
    try:
        values = taken_apart(values, {})
        with database.write() as session:
            service.add_contact(session, principal, customer_id, values, known)
    except Invalid as problem:
        with database.read() as session:
            customer = service.get(session, customer_id)
        form = form_again(typed, CONTACT_FIELDS, problem)
        return _form(request, replace(form, values=form.values | {"form": str(known or "")}), customer, None)
    return redirect(f"/customers/{customer_id}")


@router.get("/customers/{customer_id}/contacts/{contact_id}")
def edit_contact(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID, contact_id: UUID) -> Response:
    with database.read() as session:
        customer = service.get(session, customer_id)
        contact = service.get_contact(session, customer_id, contact_id)
    return _form(request, form_showing(form_values(contact)), customer, contact)


@router.post("/customers/{customer_id}/contacts/{contact_id}")
def update_contact(
    request: Request,
    principal: SignedIn,
    database: DatabaseDep,
    customer_id: UUID,
    contact_id: UUID,
    typed: Typed,
) -> Response:
    """Saves what the person changed, or removes when the button said so."""
    removes = typed.get("do") == "remove"
    edit = edit_of(typed, CONTACT_FIELDS)
    try:
        if removes:
            return _remove(request, principal, database, customer_id, contact_id, typed)
        fields = taken_apart(edit.values, typed)
        with database.write() as session:
            service.update_contact(session, principal, customer_id, contact_id, fields, edit.seen)
    except (Invalid, EditConflict) as problem:
        with database.read() as session:
            customer = service.get(session, customer_id)
            contact = service.get_contact(session, customer_id, contact_id)
            if isinstance(problem, Invalid):
                form = form_again(typed, CONTACT_FIELDS, problem)
            else:
                changed = changed_by(session, customer_id, contact_id)
                form = form_with_clashes(typed, form_values(contact), problem.clashes, changed)
        return _form(request, form, customer, contact)
    except NotFound:
        with database.read() as session:
            customer = service.get(session, customer_id)
            gone = contact_removed_by(session, customer_id, contact_id)
        if gone is None:
            raise
        if removes:  # the same button twice, or two people who agree
            return redirect(f"/customers/{customer_id}", Toast("The contact is removed."))
        return _form(request, Form({name: typed.get(name, "") for name in CONTACT_FIELDS}), customer, None, gone=gone)
    return redirect(f"/customers/{customer_id}")


def _remove(
    request: Request, principal: Principal, database: Database, customer_id: UUID, contact_id: UUID, typed: Typed
) -> Response:
    """What somebody else has just changed is shown first: it may be a reason to keep them."""
    with database.write() as session:
        customer = service.get_to_change(session, customer_id)
        contact = service.get_contact(session, customer_id, contact_id)
        kept = form_values(contact)
        since = [name for name in kept if not same(kept[name], typed.get(f"was.{name}", kept[name]))]
        if not since:
            service.remove_contact(session, principal, customer_id, contact_id)
            return redirect(f"/customers/{customer_id}")
        by = changed_by(session, customer_id, contact_id)
    return _form(request, form_showing(kept), customer, contact, changed=by.get(since[0], SOMEBODY))
