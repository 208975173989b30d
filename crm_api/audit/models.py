"""Who did what to which object, when, from where. Rows are added and never changed: the database refuses it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now
from shared.ids import new_id

# sent messages are nearly all there is, and each click pays for them: two indexes leave them out. The entry of a sent
# message has the message's own id, so it is found without. A query that wants these indexes says this word for word
RARE = "action <> 'message.sent'"


class AuditEntry(SQLModel, table=True):
    """No foreign keys: what is deleted stays named here. The id of message.sent is the message's."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_object", "object_id", "id", sqlite_where=text(RARE), postgresql_where=text(RARE)),
        Index("ix_audit_entry_actor", "actor_id", "id"),
        Index("ix_audit_entry_action", "action", "id", sqlite_where=text(RARE), postgresql_where=text(RARE)),
        {"sqlite_with_rowid": False},
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    action: str
    actor_id: UUID | None = None
    actor: str = Field(description="as named then")
    via: str = Field(description="page, api or command")
    key: str = Field(default="", description="name of the API key")
    address: str = Field(default="", description="where the request came from")
    object_id: str = ""
    object_name: str = Field(default="", description="as named then")
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
