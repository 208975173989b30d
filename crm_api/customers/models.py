"""Customers, the people there, their tags and their time line."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from crm_api.db import ByteOrdered, UtcDateTime
from shared.clock import now
from shared.ids import new_id

NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")  # a date, so that an index can sort by it


class Customer(SQLModel, table=True):
    """A person or company that is written to. sort_name and sort_company are folded: no case, no accents."""

    __table_args__ = (
        Index("ix_customer_by_name", "archived", "sort_name", "id"),
        Index("ix_customer_by_company", "archived", "sort_company", "id"),
        Index("ix_customer_by_created", "archived", "created_at", "id"),
        Index("ix_customer_by_written", "archived", "written_at", "id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    email: str
    email_key: str = Field(
        default="",
        index=True,
        sa_column_kwargs={"server_default": text("''")},
        description="shared.addresses.address_key",
    )
    phone: str = ""
    address: str = ""
    language: str = ""
    owner_id: UUID | None = Field(default=None, foreign_key="crm_user.id", description="who added them")
    archived: bool = False
    sort_name: str = Field(sa_type=ByteOrdered)
    sort_company: str = Field(sa_type=ByteOrdered)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    changed_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    written_at: datetime = Field(
        default=NEVER,
        sa_type=UtcDateTime,
        description="when a message was last written to this customer; 1970 means never",
    )

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.company or self.email

    @property
    def was_written_to(self) -> bool:
        return self.written_at > NEVER


class Contact(SQLModel, table=True):
    """One more person at a customer's."""

    id: UUID = Field(default_factory=new_id, primary_key=True)
    customer_id: UUID = Field(foreign_key="customer.id", index=True)
    first_name: str = ""
    last_name: str = ""
    role: str = ""
    email: str = Field(index=True)
    phone: str = ""

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.email


class Tag(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class CustomerTag(SQLModel, table=True):
    __tablename__ = "customer_tag"
    __table_args__ = {"sqlite_with_rowid": False}

    tag_id: int = Field(foreign_key="tag.id", primary_key=True)
    customer_id: UUID = Field(foreign_key="customer.id", primary_key=True, index=True)


class CustomerWord(SQLModel, table=True):
    """The words a customer is found by, folded; searched by prefix, the same on both databases."""

    __tablename__ = "customer_word"
    # without SQLite's hidden row id the table is its primary key, half as large
    __table_args__ = (Index("ix_customer_word_of", "customer_id", "word"), {"sqlite_with_rowid": False})

    word: str = Field(primary_key=True, sa_type=ByteOrdered)
    customer_id: UUID = Field(foreign_key="customer.id", primary_key=True)


class CustomerEntry(SQLModel, table=True):
    """One line of a customer's time line: a note, a change. Letters come from the deliveries themselves."""

    __tablename__ = "customer_entry"
    __table_args__ = (Index("ix_customer_entry_line", "customer_id", "id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    customer_id: UUID = Field(foreign_key="customer.id")
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    kind: str = Field(description="note, created, changed, archived, restored, contact")
    by: str = Field(description="the name of who did it, as it was then")
    text: str = ""
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
