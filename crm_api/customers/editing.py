"""The forms: a new customer, a customer's details, the people there."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.customers import service
from crm_api.customers.checks import CONTACT_FIELDS, CUSTOMER_FIELDS
from crm_api.customers.models import Contact, Customer
from crm_api.customers.views import Form, form_of
from crm_api.deps import DatabaseDep
from crm_api.errors import Invalid
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)

_MAX_FIELDS = 40


async def _typed(request: Request) -> dict[str, str]:
    """The form's texts; files and unknown fields are dropped where they are read."""
    async with request.form(max_files=0, max_fields=_MAX_FIELDS) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


Typed = Annotated[dict[str, str], Depends(_typed)]


def _of(typed: Mapping[str, str], names: Mapping[str, int]) -> dict[str, str]:
    return {name: typed.get(name, "") for name in names}


def _errors(problem: Invalid) -> dict[str, str]:
    """By field of the form: tags[2] stands at tags."""
    found: dict[str, str] = {}
    for error in problem.errors:
        found.setdefault(error.field.partition("[")[0], error.message)
    return found


def _customer_form(request: Request, form: Form, customer: Customer | None) -> Response:
    return render(request, "customers/edit.html", status=422 if form.errors else 200, form=form, customer=customer)


@router.get("/customers/new")
def new_customer(request: Request, _: SignedIn, email: Annotated[str, Query(max_length=254)] = "") -> Response:
    return _customer_form(request, Form({"email": email}), None)


@router.post("/customers")
def create_customer(request: Request, principal: SignedIn, database: DatabaseDep, typed: Typed) -> Response:
    try:
        with database.write() as session:
            customer = service.create(session, principal, _of(typed, CUSTOMER_FIELDS), typed.get("tags", "").split(","))
    except Invalid as problem:
        return _customer_form(request, Form(typed, _errors(problem)), None)
    return redirect(f"/customers/{customer.id}", Toast(f"{customer.name} is added."))


@router.get("/customers/{customer_id}/edit")
def edit_customer(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.read() as session:
        customer = service.get(session, customer_id)
        tags = service.tags_of(session, [customer_id])[customer_id]
    return _customer_form(request, form_of(customer, tags), customer)


@router.post("/customers/{customer_id}/edit")
def update_customer(
    request: Request, principal: SignedIn, database: DatabaseDep, customer_id: UUID, typed: Typed
) -> Response:
    try:
        with database.write() as session:
            tags = typed.get("tags", "").split(",")
            service.update(session, principal, customer_id, _of(typed, CUSTOMER_FIELDS), tags)
    except Invalid as problem:
        with database.read() as session:
            customer = service.get(session, customer_id)
        return _customer_form(request, Form(typed, _errors(problem)), customer)
    return redirect(f"/customers/{customer_id}")


def _contact_form(request: Request, form: Form, customer: Customer, contact: Contact | None) -> Response:
    return render(
        request,
        "customers/contact.html",
        status=422 if form.errors else 200,
        form=form,
        customer=customer,
        contact=contact,
    )


@router.get("/customers/{customer_id}/contacts/new")
def new_contact(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.read() as session:
        customer = service.get(session, customer_id)
    return _contact_form(request, Form({}), customer, None)


@router.post("/customers/{customer_id}/contacts")
def add_contact(
    request: Request, principal: SignedIn, database: DatabaseDep, customer_id: UUID, typed: Typed
) -> Response:
    try:
        with database.write() as session:
            service.add_contact(session, principal, customer_id, _of(typed, CONTACT_FIELDS))
    except Invalid as problem:
        with database.read() as session:
            customer = service.get(session, customer_id)
        return _contact_form(request, Form(typed, _errors(problem)), customer, None)
    return redirect(f"/customers/{customer_id}")


@router.get("/customers/{customer_id}/contacts/{contact_id}")
def edit_contact(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID, contact_id: UUID) -> Response:
    with database.read() as session:
        customer = service.get(session, customer_id)
        contact = service.get_contact(session, customer_id, contact_id)
    return _contact_form(request, form_of(contact), customer, contact)


@router.post("/customers/{customer_id}/contacts/{contact_id}")
def update_contact(
    request: Request,
    principal: SignedIn,
    database: DatabaseDep,
    customer_id: UUID,
    contact_id: UUID,
    typed: Typed,
) -> Response:
    """Saves, or removes when the button said so."""
    try:
        with database.write() as session:
            if typed.get("do") == "remove":
                service.remove_contact(session, principal, customer_id, contact_id)
            else:
                service.update_contact(session, principal, customer_id, contact_id, _of(typed, CONTACT_FIELDS))
    except Invalid as problem:
        with database.read() as session:
            customer = service.get(session, customer_id)
            contact = service.get_contact(session, customer_id, contact_id)
        return _contact_form(request, Form(typed, _errors(problem)), customer, contact)
    return redirect(f"/customers/{customer_id}")
