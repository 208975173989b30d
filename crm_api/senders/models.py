"""Who may stand in From."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from crm_api.db import UtcDateTime
from shared.clock import now
from shared.ids import new_id


class AllowedSender(SQLModel, table=True):
    """An address, or with an @ before it a domain: @example.com, or @*.example.com for all that end so."""

    __tablename__ = "allowed_sender"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    key: str = Field(unique=True, description="as it is compared: shared.addresses.address_key")
    written: str = Field(description="as it was given, for people")
    name: str = Field(default="", description="of an address: what stands before it in From")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    created_by: str = ""
