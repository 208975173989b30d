"""Who a draft goes to, and what its fields are worth for each of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlmodel import Session, col, select

from crm_api.customers.models import Contact, Customer
from crm_api.errors import FieldProblem
from crm_api.messages.schemas import RecipientDraft
from shared.addresses import BadAddress, address_key, clean_address
from shared.header_text import BadHeader, lenient_line, one_line
from shared.html_fields import one_kind_of_break
from shared.mailboxes import parse_mailbox

Row = TypeVar("Row", Customer, Contact)

# name in a template → what it is, for the composer's menu
FIELDS = {
    "first_name": "First name",
    "last_name": "Last name",
    "name": "Whole name",
    "company": "Company",
    "email": "Mail address",
    "phone": "Phone",
    "address": "Postal address",
    "language": "Language",
}


@dataclass(frozen=True, slots=True)
class Recipient:
    address: str
    name: str
    customer_id: UUID | None = None
    values: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name or self.address


def resolve(session: Session, drafts: list[RecipientDraft]) -> tuple[list[Recipient | None], list[FieldProblem]]:
    """One recipient for each draft, None where there is a problem. Three statements, however many drafts."""
    contacts = {row.id: row for row in _rows(session, Contact, {draft.contact_id for draft in drafts})}
    ids = {draft.customer_id for draft in drafts} | {contact.customer_id for contact in contacts.values()}
    customers = {row.id: row for row in _rows(session, Customer, ids)}
    found: list[Recipient | None] = []
    problems: list[FieldProblem] = []
    seen: dict[str, int] = {}
    for position, draft in enumerate(drafts):
        where = f"to[{position}]"
        recipient = _resolve_one(where, draft, customers, contacts, problems)
        if recipient and (before := seen.setdefault(address_key(recipient.address), position)) != position:
            problems.append(FieldProblem(where, f"{recipient.address} is already written to, as to[{before}]."))
            recipient = None
        found.append(recipient)
    return found, problems


def _rows(session: Session, kind: type[Row], ids: set[UUID | None]) -> Iterable[Row]:
    wanted = ids - {None}
    return session.exec(select(kind).where(col(kind.id).in_(wanted))) if wanted else ()


def _resolve_one(
    where: str,
    draft: RecipientDraft,
    customers: dict[UUID, Customer],
    contacts: dict[UUID, Contact],
    problems: list[FieldProblem],
) -> Recipient | None:
    if sum(value is not None for value in (draft.customer_id, draft.contact_id, draft.email)) != 1:
        problems.append(FieldProblem(where, "Give exactly one of customer_id, contact_id and email."))
        return None
    contact = contacts.get(draft.contact_id) if draft.contact_id else None
    if draft.contact_id and contact is None:
        problems.append(FieldProblem(f"{where}.contact_id", "There is no such contact."))
        return None
    customer_id = contact.customer_id if contact else draft.customer_id
    customer = customers.get(customer_id) if customer_id else None
    if draft.customer_id and customer is None:
        problems.append(FieldProblem(f"{where}.customer_id", "There is no such customer."))
        return None
    person = contact or customer
    if person and not person.email:
        problems.append(FieldProblem(where, f"{person.name} has no mail address."))
        return None
    try:
        said, address = ("", clean_address(person.email)) if person else parse_mailbox(draft.email or "")
    except BadAddress as problem:
        problems.append(FieldProblem(where if person else f"{where}.email", str(problem)))
        return None
    try:
        name = one_line(draft.name) or (lenient_line(person.name) if person else said)
    except BadHeader as problem:
        problems.append(FieldProblem(f"{where}.name", str(problem)))
        return None
    values = dict.fromkeys(FIELDS, "")
    if customer:
        values |= {name: _of_row(customer, name) for name in ("company", "phone", "address", "language")}
    if person:
        values |= {name: _of_row(person, name) for name in ("first_name", "last_name", "phone")}
    values |= {"name": name, "email": address}
    values |= {name: one_kind_of_break(value) for name, value in draft.fields.items()}
    return Recipient(address, "" if name == address else name, customer.id if customer else None, values)


def _of_row(row: Customer | Contact, name: str) -> str:
    """Rows may be from before there were rules for them."""
    return lenient_line(getattr(row, name))
