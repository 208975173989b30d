"""What a person has resolved and dispatch still has to take out of mail.dead.v1."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now


class DeadLetterRemoval(SQLModel, table=True):
    __tablename__ = "dead_letter_removal"

    key: str = Field(primary_key=True, description="<delivery>.<generation>, the message_id in the queue")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
