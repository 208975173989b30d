"""What the API says about the comparison of database, broker and dead letters."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.lanes import Lane


class LaneOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    lane: Lane
    expected: int = Field(description="deliveries that the broker should hold in this lane, by the database")
    ready: int = Field(description="messages in the lane's queue")
    held: int = Field(description="messages in hand at the workers")
    missing: int = Field(description="deliveries that the broker has lost; safe to requeue")
    old: int = Field(description="lost so long ago that the ledger may not know whether they were sent; not requeued")


class StrangerOut(BaseModel):
    """A dead letter that is no delivery's."""

    model_config = ConfigDict(from_attributes=True)

    key: str = Field(description="its AMQP message_id, or its body's hash")
    type: str
    reason: str = Field(description="why the broker dead-lettered it")
    why: str = Field(description="what dispatch found wrong with it, if it was an event that could not be applied")
    routing_key: str
    size: int = Field(description="bytes")
    died_at: datetime | None
    found_at: datetime


class ReconciliationOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "at": "2026-11-21T14:05:08Z",
                "reached": True,
                "obstacle": None,
                "differences": 0,
                "lanes": [{"lane": "urgent", "expected": 2, "ready": 1, "held": 1, "missing": 0, "old": 0}],
                "waiting": 4,
                "waits": 4,
                "failures": 3,
                "leaving": 0,
                "dead": 3,
                "without": 0,
                "unequal": [],
                "strangers": [],
                "requeued_at": None,
            }
        }
    )

    at: datetime | None = Field(description="when it was last compared; null if never")
    reached: bool = Field(description="whether the broker answered; if not, its figures mean nothing")
    obstacle: str | None = Field(
        description="refused: the broker's users lack a right; missing: one of its queues was deleted. "
        "`python -m crm_api broker` mends both"
    )
    differences: int = Field(description="what does not agree and is not mended yet")
    lanes: list[LaneOut]
    waiting: int = Field(description="deliveries that wait for their next try, by the database")
    waits: int = Field(description="messages in the wait queues")
    failures: int = Field(description="deliveries failed, or unknown and not tried again")
    leaving: int = Field(description="dead letters that are resolved and still to be taken out")
    dead: int = Field(description="messages in mail.dead.v1")
    without: int = Field(description="failures that have no dead letter")
    unequal: list[UUID] = Field(description="messages with more or fewer deliveries than planned")
    strangers: list[StrangerOut]
    requeued_at: datetime | None = Field(description="about when what is missing is requeued by itself")


class FindingOut(BaseModel):
    """What did not agree, and what was done about it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    kind: str = Field(
        description="requeued, lost, asked, failed, removed, put_back, strangers_removed, sums or unequal"
    )
    by: str = Field(description="who pressed the button; empty: by itself")
    count: int
    message_id: UUID | None
    data: dict[str, object]


class Done(BaseModel):
    count: int = Field(description="letters, or dead letters")


class RemoveDraft(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Annotated[str, Field(max_length=500)]] = Field(min_length=1, max_length=200)
