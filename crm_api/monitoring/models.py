"""Who is alive: one row per running part, written by dispatch, read by the pages."""

from datetime import datetime

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now


class Process(SQLModel, table=True):
    """name: "dispatch <host> <pid>" or the worker's "north/3". data: the newest heartbeat's own figures."""

    name: str = Field(primary_key=True)
    kind: str = Field(description="dispatch or worker")
    seen_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    data: dict[str, object] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
