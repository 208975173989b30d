"""What was compared, what was found, and what is no letter of ours in the dead-letter queue."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Column, text
from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now
from shared.ids import new_id

ASKED = "reconcile"  # the topic by which a person has everything compared now


class Turn(SQLModel, table=True):
    """One row: of several dispatches, one compares at a time."""

    __tablename__ = "reconciliation_turn"

    id: int = Field(primary_key=True)
    taken_at: datetime = Field(sa_type=UtcDateTime)
    sums_after: UUID | None = Field(default=None, description="how far the slow walk over all messages has come")


class Look(SQLModel, table=True):
    """One comparison. figures: see figures.Figures; kept for a day, because a queue seen empty is evidence later."""

    __tablename__ = "reconciliation_look"

    at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    differences: int = Field(description="letters and dead letters that do not agree and are not mended yet")
    figures: dict[str, object] = Field(sa_column=Column(JSON, nullable=False))


class Finding(SQLModel, table=True):
    """What did not agree, and what was done about it."""

    __tablename__ = "reconciliation_finding"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    kind: str = Field(description="see words.FINDINGS")
    by: str = Field(default="", description="who pressed the button; empty: by itself")
    count: int = Field(description="letters or dead letters")
    message_id: UUID | None = Field(default=None, foreign_key="message.id")
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Stranger(SQLModel, table=True):
    """A dead letter that is no delivery's: an event that nobody understood, or something foreign."""

    __tablename__ = "dead_letter_stranger"

    key: str = Field(primary_key=True, description="shared.amqp.Found.key")
    type: str
    reason: str = Field(description="why it was dead-lettered, as the broker names it")
    routing_key: str
    size: int = Field(description="bytes")
    why: str = Field(
        default="",
        sa_column_kwargs={"server_default": text("''")},
        description="what dispatch found wrong with it, if it was an event",
    )
    died_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    found_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
