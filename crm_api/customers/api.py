"""/api/v1/customers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.customers import service
from crm_api.customers.checks import CONTACT_FIELDS
from crm_api.customers.finding import Sort
from crm_api.customers.models import Contact, Customer
from crm_api.customers.schemas import (
    ContactIn,
    ContactOut,
    ContactPatch,
    CustomerIn,
    CustomerOut,
    CustomerPatch,
    LineOut,
    NoteIn,
)
from crm_api.customers.timeline import Kind
from crm_api.deps import DatabaseDep
from crm_api.paging import Cursor, Limit, Page
from crm_api.preconditions import TAGGED, TAGGED_NEW, Condition, IfMatch, etag_of, tell

router = APIRouter(prefix="/api/v1/customers", tags=["customers"])


def _out(session: Session, customer: Customer, response: Response) -> CustomerOut:
    session.flush()
    tags = service.tags_of(session, [customer.id])[customer.id]
    tell(response, _etag(customer, tags))
    return CustomerOut.of(customer, tags, service.same_address(session, customer))


def _etag(customer: Customer, tags: list[str]) -> str:
    """All that can be changed about a customer; not when a message was last written to them."""
    fields = [getattr(customer, name) for name in service.CUSTOMER_FIELDS]
    return etag_of("customer", customer.id, fields, customer.archived, tags)


def _check(session: Session, customer_id: UUID, if_match: Condition) -> None:
    """Locks the customer first: what is compared is what will be changed."""
    if if_match:
        customer = service.get_to_change(session, customer_id)
        if_match.check(_etag(customer, service.tags_of(session, [customer_id])[customer_id]))


def _contact_out(contact: Contact, response: Response) -> ContactOut:
    tell(response, _contact_etag(contact))
    return ContactOut.of(contact)


def _contact_etag(contact: Contact) -> str:
    return etag_of("contact", contact.id, [getattr(contact, name) for name in CONTACT_FIELDS])


def _check_contact(session: Session, customer_id: UUID, contact_id: UUID, if_match: Condition) -> None:
    if if_match:
        service.get_to_change(session, customer_id)
        if_match.check(_contact_etag(service.get_contact(session, customer_id, contact_id)))


@router.get("")
def list_customers(
    database: DatabaseDep,
    _: SignedIn,
    q: Annotated[str, Query(max_length=200, description="each word begins a word of the customer")] = "",
    tag: Annotated[str | None, Query(max_length=50)] = None,
    archived: bool = False,
    sort: Annotated[Sort, Query(description="name and company go up; created and written newest first")] = "name",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[CustomerOut]:
    """Found by name, company, mail address and phone, also of contacts; accents and case do not matter."""
    with database.read() as session:
        found, following = service.list_page(
            session, query=q, tag=tag, archived=archived, sort=sort, cursor=cursor, limit=limit
        )
        tags = service.tags_of(session, [customer.id for customer in found])
        return Page(items=[CustomerOut.of(customer, tags[customer.id]) for customer in found], next=following)


@router.post("", status_code=201, responses=TAGGED_NEW)
def create_customer(database: DatabaseDep, principal: SignedIn, body: CustomerIn, response: Response) -> CustomerOut:
    """A mail address may belong to several customers; `same_address` names the others."""
    with database.write() as session:
        customer = service.create(session, principal, body.texts(), body.tags)
        response.headers["Location"] = f"/api/v1/customers/{customer.id}"
        return _out(session, customer, response)


@router.get("/tags")
def list_tags(database: DatabaseDep, _: SignedIn) -> list[str]:
    """All tags that were ever given, in alphabetical order."""
    with database.read() as session:
        return service.all_tags(session)


@router.get("/{customer_id}", responses=TAGGED)
def get_customer(database: DatabaseDep, _: SignedIn, customer_id: UUID, response: Response) -> CustomerOut:
    """`ETag` stands for what can be changed: send it as `If-Match` to change only this version."""
    with database.read() as session:
        return _out(session, service.get(session, customer_id), response)


@router.patch("/{customer_id}", responses=TAGGED)
def update_customer(
    database: DatabaseDep,
    principal: SignedIn,
    customer_id: UUID,
    body: CustomerPatch,
    if_match: IfMatch,
    response: Response,
) -> CustomerOut:
    """Changes what is given and nothing else; every change is a line of the time line, with who, old and new."""
    with database.write() as session:
        _check(session, customer_id, if_match)
        customer = service.update(
            session,
            principal,
            customer_id,
            body.texts(),
            body.tags,
            add_tags=body.add_tags,
            remove_tags=body.remove_tags,
        )
        return _out(session, customer, response)


@router.delete("/{customer_id}", status_code=204)
def delete_customer(database: DatabaseDep, principal: SignedIn, customer_id: UUID, if_match: IfMatch) -> None:
    """Only one that nothing was ever written to (else 409: archive it). Who is no manager deletes only their own."""
    with database.write() as session:
        _check(session, customer_id, if_match)
        service.remove(session, principal, customer_id)


@router.post("/{customer_id}/archive", responses=TAGGED)
def archive_customer(
    database: DatabaseDep, principal: SignedIn, customer_id: UUID, if_match: IfMatch, response: Response
) -> CustomerOut:
    """Takes it out of lists and suggestions. Archiving twice is archiving once."""
    with database.write() as session:
        _check(session, customer_id, if_match)
        return _out(session, service.archive(session, principal, customer_id), response)


@router.post("/{customer_id}/restore", responses=TAGGED)
def restore_customer(
    database: DatabaseDep, principal: SignedIn, customer_id: UUID, if_match: IfMatch, response: Response
) -> CustomerOut:
    with database.write() as session:
        _check(session, customer_id, if_match)
        return _out(session, service.restore(session, principal, customer_id), response)


@router.get("/{customer_id}/timeline")
def get_timeline(
    database: DatabaseDep,
    _: SignedIn,
    customer_id: UUID,
    kind: Kind = "everything",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LineOut]:
    """What was written, sent, noted and changed, by whom; newest first."""
    with database.read() as session:
        service.get(session, customer_id)
        lines, following = service.timeline(session, customer_id, kind, cursor, limit)
        return Page(items=[LineOut.of(line) for line in lines], next=following)


@router.post("/{customer_id}/notes", status_code=201)
def add_note(database: DatabaseDep, principal: SignedIn, customer_id: UUID, body: NoteIn) -> LineOut:
    with database.write() as session:
        return LineOut.of_entry(service.add_note(session, principal, customer_id, body.text))


@router.get("/{customer_id}/contacts")
def list_contacts(database: DatabaseDep, _: SignedIn, customer_id: UUID) -> list[ContactOut]:
    """The people at this customer's, in the order they were added."""
    with database.read() as session:
        service.get(session, customer_id)
        return [ContactOut.of(contact) for contact in service.contacts(session, customer_id)]


@router.post("/{customer_id}/contacts", status_code=201, responses=TAGGED_NEW)
def add_contact(
    database: DatabaseDep, principal: SignedIn, customer_id: UUID, body: ContactIn, response: Response
) -> ContactOut:
    with database.write() as session:
        contact = service.add_contact(session, principal, customer_id, body.texts())
        response.headers["Location"] = f"/api/v1/customers/{customer_id}/contacts/{contact.id}"
        return _contact_out(contact, response)


@router.get("/{customer_id}/contacts/{contact_id}", responses=TAGGED)
def get_contact(
    database: DatabaseDep, _: SignedIn, customer_id: UUID, contact_id: UUID, response: Response
) -> ContactOut:
    with database.read() as session:
        return _contact_out(service.get_contact(session, customer_id, contact_id), response)


@router.patch("/{customer_id}/contacts/{contact_id}", responses=TAGGED)
def update_contact(
    database: DatabaseDep,
    principal: SignedIn,
    customer_id: UUID,
    contact_id: UUID,
    body: ContactPatch,
    if_match: IfMatch,
    response: Response,
) -> ContactOut:
    """Changes what is given and nothing else."""
    with database.write() as session:
        _check_contact(session, customer_id, contact_id, if_match)
        contact = service.update_contact(session, principal, customer_id, contact_id, body.texts())
        return _contact_out(contact, response)


@router.delete("/{customer_id}/contacts/{contact_id}", status_code=204)
def remove_contact(
    database: DatabaseDep, principal: SignedIn, customer_id: UUID, contact_id: UUID, if_match: IfMatch
) -> None:
    with database.write() as session:
        _check_contact(session, customer_id, contact_id, if_match)
        service.remove_contact(session, principal, customer_id, contact_id)
