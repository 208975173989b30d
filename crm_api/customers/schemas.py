"""Customers as the API takes and shows them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from crm_api.customers.checks import CUSTOMER_FIELDS, MAX_NOTE, MAX_TAG, MAX_TAGS
from crm_api.customers.models import Contact, Customer, CustomerEntry
from crm_api.customers.timeline import Line
from crm_api.limits import MAX_ADDRESS
from crm_api.messages.states import State

_EXAMPLE: JsonDict = {
    "first_name": "Marta",
    "last_name": "Lindqvist",
    "company": "Lindqvist Trädgård",
    "email": "marta@lindqvist-tradgard.example",
    "phone": "+46 31 555 01 47",
    "address": "Trädgårdsgatan 12, 411 08 Göteborg",
    "language": "Swedish",
    "tags": ["architect", "sv"],
}
_CONTACT: JsonDict = {
    "first_name": "Nils",
    "last_name": "Lindqvist",
    "role": "Planting",
    "email": "nils@lindqvist-tradgard.example",
    "phone": "+46 31 555 01 48",
}
# the service strips and checks them, for pages too; a text that is far too long does not come so far
Name = Annotated[str, Field(max_length=CUSTOMER_FIELDS["first_name"])]
Company = Annotated[str, Field(max_length=CUSTOMER_FIELDS["company"])]
Email = Annotated[str, Field(max_length=MAX_ADDRESS)]
Phone = Annotated[str, Field(max_length=CUSTOMER_FIELDS["phone"])]
Address = Annotated[str, Field(max_length=CUSTOMER_FIELDS["address"])]
Language = Annotated[str, Field(max_length=CUSTOMER_FIELDS["language"])]
Tags = Annotated[list[Annotated[str, Field(max_length=MAX_TAG)]], Field(max_length=MAX_TAGS)]
_ID = "01936b2e-8f00-7c3a-9d50-2b1f6a7c8d9e"
_TIMES: JsonDict = {"created_at": "2026-11-03T10:12:00Z", "changed_at": "2026-11-24T14:02:11Z"}


class Fields(BaseModel):
    """The texts of a body that were given. Lengths and addresses are checked by the service, for pages too."""

    model_config = ConfigDict(extra="forbid")

    def texts(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.model_dump(exclude={"tags", "add_tags", "remove_tags"}, exclude_unset=True).items()
            if value is not None
        }


class CustomerIn(Fields):
    """At least one of first_name, last_name, company and email is needed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    first_name: Name = ""
    last_name: Name = ""
    company: Company = ""
    email: Email = ""
    phone: Phone = ""
    address: Address = Field("", description="postal; line breaks become commas")
    language: Language = ""
    tags: Tags = []


class CustomerPatch(Fields):
    """Only what is given changes, whatever others changed since it was read (If-Match refuses that). null is not given;
    "" empties a text."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"phone": "+46 31 555 01 99", "tags": ["architect"]}}
    )

    first_name: Name | None = None
    last_name: Name | None = None
    company: Company | None = None
    email: Email | None = None
    phone: Phone | None = None
    address: Address | None = None
    language: Language | None = None
    tags: Tags | None = Field(None, description="all that the customer should have; not beside the next two")
    add_tags: Tags = Field([], description="the others stay, whoever gave them")
    remove_tags: Tags = []

    @model_validator(mode="after")
    def _one_way(self) -> "CustomerPatch":
        if self.tags is not None and (self.add_tags or self.remove_tags):
            raise ValueError("Give all tags, or those to add and to remove.")
        return self


class SameAddress(BaseModel):
    id: UUID
    name: str


class CustomerOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _ID,
                "name": "Marta Lindqvist",
                **_EXAMPLE,
                "archived": False,
                "owner": _ID,
                "written_at": "2026-11-24T14:02:11Z",
                **_TIMES,
                "same_address": [],
            }
        }
    )

    id: UUID
    name: str
    first_name: str
    last_name: str
    company: str
    email: str
    phone: str
    address: str
    language: str
    tags: list[str]
    archived: bool
    owner: UUID | None = Field(description="the user who added this customer, and may delete it; managers may, too")
    written_at: datetime | None = Field(description="when a message was last written to this customer")
    created_at: datetime
    changed_at: datetime
    same_address: list[SameAddress] | None = Field(
        None, description="others with this mail address; only where one customer is asked for or changed"
    )

    @classmethod
    def of(cls, customer: Customer, tags: list[str], same: Iterable[Customer] | None = None) -> "CustomerOut":
        return cls(
            **customer.model_dump(exclude={"owner_id", "sort_name", "sort_company", "written_at"}),
            name=customer.name,
            owner=customer.owner_id,
            tags=tags,
            written_at=customer.written_at if customer.was_written_to else None,
            same_address=None if same is None else [SameAddress(id=other.id, name=other.name) for other in same],
        )


class ContactIn(Fields):
    """At least one of first_name, last_name and email is needed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _CONTACT})

    first_name: Name = ""
    last_name: Name = ""
    role: Name = ""
    email: Email = ""
    phone: Phone = ""


class ContactPatch(Fields):
    """Only what is given changes; null is not given, "" empties a text."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "Planting and pruning"}})

    first_name: Name | None = None
    last_name: Name | None = None
    role: Name | None = None
    email: Email | None = None
    phone: Phone | None = None


class ContactOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"example": {"id": _ID, "customer_id": _ID, "name": "Nils Lindqvist", **_CONTACT}}
    )

    id: UUID
    customer_id: UUID
    name: str
    first_name: str
    last_name: str
    role: str
    email: str
    phone: str

    @classmethod
    def of(cls, contact: Contact) -> "ContactOut":
        return cls(**contact.model_dump(), name=contact.name)


class NoteIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"text": "Calls are best after 15:00."}})

    text: Annotated[str, Field(max_length=MAX_NOTE)]


class LineOut(BaseModel):
    """One line of a time line: a note, a change, or a letter."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _ID,
                "at": "2026-11-24T14:02:11Z",
                "kind": "letter",
                "by": "Ida Holt",
                "text": "Your saplings leave on Thursday",
                "data": {},
                "delivery_id": _ID,
                "message_id": _ID,
                "state": "accepted",
            }
        }
    )

    id: UUID
    at: datetime
    kind: Literal["note", "created", "changed", "archived", "restored", "contact", "letter"]
    by: str
    text: str = Field(description="the note, or the letter's subject")
    data: dict[str, Any] = Field(description="of a change: field → [old, new], tags added and removed, the contact")
    delivery_id: UUID | None = None
    message_id: UUID | None = None
    state: State | None = Field(None, description="of the delivery")

    @classmethod
    def of(cls, line: Line) -> "LineOut":
        if line.entry:
            return cls.of_entry(line.entry)
        assert line.delivery is not None
        assert line.message is not None
        return cls(
            id=line.id,
            at=line.at,
            kind="letter",
            by=line.message.author,
            text=line.message.subject,
            data={},
            delivery_id=line.delivery.id,
            message_id=line.message.id,
            state=State(line.delivery.state),
        )

    @classmethod
    def of_entry(cls, entry: CustomerEntry) -> "LineOut":
        row = entry.model_dump(exclude={"customer_id"})
        return cls.model_validate(row | ({"data": {}} if entry.kind == "note" else {}))
