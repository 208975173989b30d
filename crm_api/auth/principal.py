"""Who is asking."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in person, or the holder of an API key. scope: whose idempotency keys these are."""

    user_id: UUID
    name: str
    email: str
    role: str
    via: Literal["page", "api"]
    scope: str
