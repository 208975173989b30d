"""What the pages show of customers: everything looked up, nothing left for the template to find out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from crm_api.customers import service
from crm_api.customers.checks import CONTACT_FIELDS, CUSTOMER_FIELDS
from crm_api.customers.finding import MOST_COUNTED, count_matching
from crm_api.customers.models import Contact, Customer
from crm_api.customers.timeline import Line
from crm_api.messages.models import Delivery, Message
from crm_api.messages.states import State
from crm_api.web.words import number, said
from shared.clock import now
from shared.fields import FieldError, Template
from shared.fields import shown as shown_fields

SORTS = {"name": "name", "company": "company", "written": "last letter", "created": "newest"}
KINDS = {"everything": "Everything", "letters": "Letters", "notes": "Notes", "changes": "Changes"}
LABELS = {
    "first_name": "First name",
    "last_name": "Last name",
    "company": "Company",
    "role": "Role",
    "email": "Email",
    "phone": "Phone",
    "address": "Address",
    "language": "Language",
}
_NUMBERS = dict(
    zip(
        map(str, range(1, 13)),
        ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
        strict=True,
    )
)
assert set(LABELS) == {*CUSTOMER_FIELDS, *CONTACT_FIELDS}


@dataclass(frozen=True)
class Letter:
    """The last letter to a customer."""

    delivery: Delivery
    message_id: UUID
    subject: str

    @property
    def note(self) -> str:
        """Said below the state: when it tries again, or why it does not."""
        if self.delivery.state == State.deferred and self.delivery.next_try:
            return f"next try {said(self.delivery.next_try)}"
        if self.delivery.state == State.pending and self.delivery.due_at > now():
            return f"leaves {said(self.delivery.due_at)}"
        return ""


@dataclass(frozen=True)
class Row:
    customer: Customer
    tags: list[str]
    letter: Letter | None


@dataclass(frozen=True)
class Tab:
    key: str
    word: str
    count: str
    bad: bool
    current: bool

    @property
    def said(self) -> str:
        """The count as a sentence begins with it: One, Nine, 1,204, Over 1,000."""
        return _NUMBERS.get(self.count, self.count.capitalize())


def rows(session: Session, customers: Sequence[Customer]) -> list[Row]:
    """Two statements, however many customers."""
    ids = [customer.id for customer in customers]
    tags, letters = service.tags_of(session, ids), _last_letters(session, ids)
    return [Row(customer, tags[customer.id], letters.get(customer.id)) for customer in customers]


def _last_letters(session: Session, ids: list[UUID]) -> dict[UUID, Letter]:
    if not ids:
        return {}
    inner = aliased(Delivery)
    newest = (
        select(inner.id)
        .where(col(inner.customer_id) == Customer.id)
        .order_by(col(inner.id).desc())
        .limit(1)
        .correlate(Customer)
        .scalar_subquery()
    )
    last = select(newest.label("id")).where(col(Customer.id).in_(ids)).subquery()
    found = session.exec(
        select(Delivery, Message.subject)
        .join(last, last.c.id == Delivery.id)
        .join(Message, col(Message.id) == Delivery.message_id)
    )
    return {
        delivery.customer_id: Letter(delivery, delivery.message_id, merged(subject, delivery))
        for delivery, subject in found
        if delivery.customer_id
    }


def merged(subject: str, delivery: Delivery) -> str:
    """The subject as this recipient got it."""
    try:
        return Template(subject).fill(shown_fields(delivery.fields))
    except FieldError:
        return subject


def tabs(session: Session, view: str) -> list[Tab]:
    trouble = count_matching(session, trouble=True)
    archived = service.count_customers(session, archived=True)
    found = [
        Tab("all", "All", number(service.count_customers(session)), False, view == "all"),
        Tab("trouble", "Mail in trouble", counted(trouble), trouble > 0, view == "trouble"),
    ]
    if archived or view == "archived":
        found.append(Tab("archived", "Archived", number(archived), False, view == "archived"))
    return found


def counted(count: int) -> str:
    return number(count) if count <= MOST_COUNTED else f"over {number(MOST_COUNTED)}"


@dataclass(frozen=True)
class Shown:
    """One line of the time line, in words. text: paragraphs below the title. state: of a letter."""

    line: Line
    icon: str
    title: str
    by: str = ""
    text: list[str] = field(default_factory=list)
    state: str | None = None
    href: str | None = None
    ahead: bool = False


def shown(line: Line) -> Shown:
    return _letter(line) if line.delivery and line.message else _entry(line)


def _letter(line: Line) -> Shown:
    delivery, message = line.delivery, line.message
    assert delivery is not None
    assert message is not None
    return Shown(
        line,
        icon=f"s-{delivery.state}",
        title=merged(message.subject, delivery),
        by=message.author,
        text=[_becomes(delivery)],
        state=delivery.state,
        href=f"/messages/{message.id}",
        ahead=delivery.state == State.pending and delivery.due_at > now(),
    )


def _becomes(delivery: Delivery) -> str:
    """What stands after the state's word."""
    who = delivery.name or delivery.address
    match State(delivery.state):
        case State.pending if delivery.due_at > now():
            return f"to {who}. It leaves by itself {said(delivery.due_at)}."
        case State.deferred:
            again = f" It tries again by itself at {said(delivery.next_try)}." if delivery.next_try else ""
            return f"{delivery.reason or ''}{again}".strip()
        case State.failed | State.unknown | State.bounced | State.suppressed:
            return delivery.reason or f"to {who}"
        case _:
            return f"to {who}"


def _entry(line: Line) -> Shown:
    entry = line.entry
    assert entry is not None
    data = entry.data
    match entry.kind:
        case "note":
            return Shown(line, "i-note", "Note", entry.by, entry.text.split("\n"))
        case "created":
            return Shown(line, "i-plus", "Added", entry.by)
        case "archived":
            return Shown(line, "i-sandbox", "Archived", entry.by)
        case "restored":
            return Shown(line, "i-undo", "Restored", entry.by)
        case "contact":
            title = f"Contact {data.get('name', '')} {data.get('verb', 'changed')}"
            return Shown(line, "i-customers", title, entry.by, _changes(data))
    names = [LABELS.get(name, name) for name in _mapping(data.get("changes"))]
    names += ["Tags"] if data.get("tags") else []
    title = f"{names[0]} changed" if len(names) == 1 else "Details changed"
    return Shown(line, "i-edit", title, entry.by, _changes(data))


def _changes(data: dict[str, object]) -> list[str]:
    said = [
        f"{LABELS.get(name, name)}: {old or 'empty'} → {new or 'empty'}"
        for name, (old, new) in _mapping(data.get("changes")).items()
    ]
    tags = _mapping(data.get("tags"))
    said += [f"Tags added: {', '.join(tags['added'])}"] if tags.get("added") else []
    said += [f"Tags removed: {', '.join(tags['removed'])}"] if tags.get("removed") else []
    said += [f"{LABELS.get(name, name)}: {was}" for name, was in _mapping(data.get("was")).items()]
    return said


def _mapping(value: object) -> dict[str, list[str]]:
    return value if isinstance(value, dict) else {}


def form_values(row: Customer | Contact, tags: Sequence[str] = ()) -> dict[str, str]:
    """What a form shows of it, by field."""
    if isinstance(row, Contact):
        return {name: getattr(row, name) for name in CONTACT_FIELDS}
    return {name: getattr(row, name) for name in CUSTOMER_FIELDS} | {"tags": ", ".join(tags)}
