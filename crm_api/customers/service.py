"""The verbs of the customers room. Each change leaves a line in the customer's time line, in the same transaction."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import Session, col, delete, select

from crm_api.audit.record import record
from crm_api.auth.models import User
from crm_api.auth.principal import NO_ID, Principal
from crm_api.changes import announce
from crm_api.customers.checks import (
    CONTACT_FIELDS,
    CUSTOMER_FIELDS,
    MAX_CONTACTS,
    clean,
    clean_note,
    clean_tags,
    need_one,
)
from crm_api.customers.finding import count_customers, list_page, suggest
from crm_api.customers.models import Contact, Customer, CustomerEntry, CustomerTag, CustomerWord
from crm_api.customers.tags import add_and_remove, all_tags, set_tags, tags_of
from crm_api.customers.timeline import timeline
from crm_api.customers.words import fold, words_of
from crm_api.edits import write_changes
from crm_api.errors import Conflict, Forbidden, Invalid, NotFound
from crm_api.messages.models import Delivery
from shared.addresses import address_key
from shared.clock import now
from shared.ids import new_id

__all__ = ["CUSTOMER_FIELDS", "all_tags", "count_customers", "list_page", "suggest", "tags_of", "timeline"]

_NAMING = ("first_name", "last_name", "company", "email")


def get(session: Session, customer_id: UUID) -> Customer:
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise NotFound("There is no such customer.")
    return customer


def owner_of(session: Session, customer: Customer) -> User | None:
    return session.get(User, customer.owner_id) if customer.owner_id else None


def get_to_change(session: Session, customer_id: UUID) -> Customer:
    """Locked: whoever else changes it, its tags or its people waits until this transaction ends."""
    customer = session.get(Customer, customer_id, with_for_update=True)
    if customer is None:
        raise NotFound("There is no such customer.")
    return customer


def create(
    session: Session,
    principal: Principal,
    values: Mapping[str, str],
    tags: Sequence[str] = (),
    customer_id: UUID | None = None,
) -> Customer:
    """values: any of CUSTOMER_FIELDS. Raises Invalid that names every wrong field."""
    cleaned = dict.fromkeys(CUSTOMER_FIELDS, "") | clean(values, CUSTOMER_FIELDS)
    names = clean_tags(tags)
    need_one(cleaned, *_NAMING)
    owner = principal.user_id if principal.user_id != NO_ID else None
    customer = Customer.model_validate(
        cleaned | {"id": customer_id or new_id(), "sort_name": "", "sort_company": "", "owner_id": owner}
    )
    _sort(customer)
    session.add(customer)
    session.flush()
    set_tags(session, customer.id, names)
    _index(session, customer)
    _note(session, customer, principal, "created")
    return customer


def update(
    session: Session,
    principal: Principal,
    customer_id: UUID,
    values: Mapping[str, str],
    tags: Sequence[str] | None = None,
    *,
    seen: Mapping[str, str] | None = None,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
) -> Customer:
    """Changes the given fields. tags: all that the customer should have; add_tags, remove_tags leave the others alone.

    seen: what the writer saw in the fields; raises EditConflict if somebody else changed them since. Nothing changed:
    nothing noted.
    """
    cleaned = clean(values, CUSTOMER_FIELDS)
    names = clean_tags(tags) if tags is not None else None
    more, less = clean_tags(add_tags), clean_tags(remove_tags)
    customer = get_to_change(session, customer_id)
    changes = write_changes(customer, cleaned, seen)
    if changes:
        need_one({name: getattr(customer, name) for name in _NAMING}, *_NAMING)
    data: dict[str, object] = {"changes": changes} if changes else {}
    if names is not None:
        added, removed = set_tags(session, customer_id, names)
    else:
        added, removed = add_and_remove(session, customer_id, more, less)
    if added or removed:
        data["tags"] = {"added": added, "removed": removed}
    if data:
        _sort(customer)
        _index(session, customer)
        _note(session, customer, principal, "changed", data=data)
    return customer


def archive(session: Session, principal: Principal, customer_id: UUID) -> Customer:
    """Takes the customer out of lists and suggestions; nothing is lost."""
    return _set_archived(session, principal, customer_id, True)


def restore(session: Session, principal: Principal, customer_id: UUID) -> Customer:
    return _set_archived(session, principal, customer_id, False)


def _set_archived(session: Session, principal: Principal, customer_id: UUID, archived: bool) -> Customer:
    customer = get_to_change(session, customer_id)
    if customer.archived != archived:
        customer.archived = archived
        _note(session, customer, principal, "archived" if archived else "restored")
    return customer


def remove(session: Session, principal: Principal, customer_id: UUID) -> None:
    """Deletes a customer that nothing was ever written to; raises Conflict for any other, Forbidden for who may not."""
    customer = get_to_change(session, customer_id)
    if customer.owner_id != principal.user_id and not principal.may("customers.remove_any"):
        raise Forbidden("Somebody else added this customer. They can delete it, or a manager. You can archive it.")
    if session.exec(select(Delivery.id).where(Delivery.customer_id == customer_id).limit(1)).first():
        raise Conflict("Letters were written to this customer. Archive it instead: the letters keep their recipient.")
    for table in (CustomerWord, CustomerTag, CustomerEntry, Contact):
        session.execute(delete(table).where(col(table.customer_id) == customer_id))
    session.delete(customer)
    record(session, principal, "customer.removed", customer_id, customer.name)
    announce(session, "customers", f"customer:{customer_id}")


def add_note(
    session: Session, principal: Principal, customer_id: UUID, text: str, form: UUID | None = None
) -> CustomerEntry:
    """form: the form it was written in; the same one twice, unchanged, is one note."""
    note = clean_note(text)
    if form:
        customer = get_to_change(session, customer_id)
        if there := _note_of(session, customer_id, form, note):
            return there
    else:
        customer = get(session, customer_id)
    data: dict[str, object] = {"form": str(form)} if form else {}
    entry = CustomerEntry(customer_id=customer_id, kind="note", by=principal.name, text=note, data=data)
    session.add(entry)
    record(session, principal, "customer.noted", customer_id, customer.name)
    announce(session, f"customer:{customer.id}")
    return entry


def _note_of(session: Session, customer_id: UUID, form: UUID, text: str) -> CustomerEntry | None:
    """What was noted with this form, among all that was noted since it was opened."""
    since = select(CustomerEntry).where(
        CustomerEntry.customer_id == customer_id, CustomerEntry.kind == "note", col(CustomerEntry.id) > form
    )
    notes = session.exec(since.where(CustomerEntry.text == text).limit(100))
    return next((entry for entry in notes if entry.data.get("form") == str(form)), None)


def contacts(session: Session, customer_id: UUID) -> list[Contact]:
    return list(session.exec(select(Contact).where(Contact.customer_id == customer_id).order_by(col(Contact.id))))


def get_contact(session: Session, customer_id: UUID, contact_id: UUID) -> Contact:
    contact = session.get(Contact, contact_id)
    if contact is None or contact.customer_id != customer_id:
        raise NotFound("There is no such contact at this customer.")
    return contact


def add_contact(
    session: Session,
    principal: Principal,
    customer_id: UUID,
    values: Mapping[str, str],
    contact_id: UUID | None = None,
) -> Contact:
    """values: any of CONTACT_FIELDS. contact_id: of the form; the same one twice, unchanged, is one contact."""
    cleaned = dict.fromkeys(CONTACT_FIELDS, "") | clean(values, CONTACT_FIELDS)
    need_one(cleaned, "first_name", "last_name", "email")
    customer = get_to_change(session, customer_id)
    there = session.get(Contact, contact_id) if contact_id else None
    if there and there.customer_id == customer_id and all(getattr(there, it) == cleaned[it] for it in cleaned):
        return there
    contact_id = None if there else contact_id  # who goes back and writes somebody else means one more
    if len(contacts(session, customer_id)) >= MAX_CONTACTS:
        raise Invalid.field("first_name", f"A customer has at most {MAX_CONTACTS} contacts.")
    contact = Contact.model_validate(cleaned | {"id": contact_id or new_id(), "customer_id": customer_id})
    session.add(contact)
    session.flush()
    _index(session, customer)
    _note(session, customer, principal, "contact", data=_contact_data("added", contact))
    return contact


def update_contact(
    session: Session,
    principal: Principal,
    customer_id: UUID,
    contact_id: UUID,
    values: Mapping[str, str],
    seen: Mapping[str, str] | None = None,
) -> Contact:
    """seen: as for update."""
    cleaned = clean(values, CONTACT_FIELDS)
    customer = get_to_change(session, customer_id)
    contact = get_contact(session, customer_id, contact_id)
    data = _contact_data("changed", contact)
    changes = write_changes(contact, cleaned, seen)
    if changes:
        naming = ("first_name", "last_name", "email")
        need_one({field: getattr(contact, field) for field in naming}, *naming)
        session.flush()
        _index(session, customer)
        _note(session, customer, principal, "contact", data=data | {"changes": changes})
    return contact


def remove_contact(session: Session, principal: Principal, customer_id: UUID, contact_id: UUID) -> None:
    customer = get_to_change(session, customer_id)
    contact = get_contact(session, customer_id, contact_id)
    was = {field: getattr(contact, field) for field in CONTACT_FIELDS if getattr(contact, field)}
    session.delete(contact)
    session.flush()
    _index(session, customer)
    _note(session, customer, principal, "contact", data=_contact_data("removed", contact) | {"was": was})


def _contact_data(verb: str, contact: Contact) -> dict[str, object]:
    return {"verb": verb, "id": str(contact.id), "name": contact.name}


def _which(data: Mapping[str, object]) -> dict[str, object]:
    """Which fields were changed, without what is in them: that stands in the time line, and can be deleted there."""
    changes = data.get("changes")
    fields = sorted(changes) if isinstance(changes, dict) else []
    fields += ["tags"] if "tags" in data else []
    return {"fields": fields} if fields else {}


def same_address(session: Session, customer: Customer) -> list[Customer]:
    """Others, not archived, with the same mail address; at most five. It is allowed, and said."""
    if not customer.email:
        return []
    return list(
        session.exec(
            select(Customer)
            .where(
                Customer.email_key == customer.email_key,
                Customer.id != customer.id,
                col(Customer.archived).is_(False),
            )
            .order_by(col(Customer.id))
            .limit(5)
        )
    )


def _sort(customer: Customer) -> None:
    customer.sort_name = fold(f"{customer.last_name} {customer.first_name}") or fold(customer.name)
    customer.sort_company = fold(customer.company) or customer.sort_name
    customer.email_key = address_key(customer.email)


def index_texts(customer: Customer, people: Sequence[Contact]) -> list[str]:
    """All that a customer is found by: its own fields and its people's."""
    texts = [customer.first_name, customer.last_name, customer.company, customer.email, customer.phone]
    for person in people:
        texts += [person.first_name, person.last_name, person.email, person.phone]
    # at an international domain they are found by its ASCII form, too
    addresses = [customer.email, *(person.email for person in people)]
    return texts + [address_key(address) for address in addresses if not address.isascii()]


def _index(session: Session, customer: Customer) -> None:
    wanted = words_of(index_texts(customer, contacts(session, customer.id)))
    had = set(session.exec(select(CustomerWord.word).where(CustomerWord.customer_id == customer.id)))
    if gone := had - wanted:
        session.execute(
            delete(CustomerWord).where(
                col(CustomerWord.customer_id) == customer.id, col(CustomerWord.word).in_(sorted(gone))
            )
        )
    session.add_all(CustomerWord(word=word, customer_id=customer.id) for word in sorted(wanted - had))


def _note(
    session: Session,
    customer: Customer,
    principal: Principal,
    kind: str,
    data: dict[str, object] | None = None,
) -> None:
    customer.changed_at = now()
    data = data or {}
    session.add(CustomerEntry(customer_id=customer.id, kind=kind, by=principal.name, data=data))
    action = f"contact.{data['verb']}" if kind == "contact" else f"customer.{kind}"
    record(session, principal, action, customer.id, customer.name, **_which(data))
    announce(session, "customers", f"customer:{customer.id}")
