"""Who is asking."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from crm_api.auth.roles import BY_NAME, Scopes, granted

Via = Literal["page", "api", "command"]
NO_ID = UUID(int=0)  # of those who are no user


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in person, or the holder of an API key.

    scope: whose idempotency keys these are. scopes: what the key was given, None for all that the role may.
    address: where the request came from. key: the API key's name. ends_at: when session or key ends by itself.
    """

    user_id: UUID
    name: str
    email: str
    role: str
    via: Via
    scope: str
    scopes: Scopes | None = None
    address: str = ""
    key: str = ""
    key_id: UUID | None = None
    ends_at: datetime | None = None

    def may(self, verb: str) -> bool:
        """Raises KeyError for a verb that the table does not have."""
        return BY_NAME[verb].name in granted(self.role, self.via == "api", self.scopes)


def somebody(address: str) -> Principal:
    """Who has not proved yet who they are."""
    return Principal(NO_ID, "somebody", "", "", "page", "nobody", address=address)


# who may start our programs may do anything
COMMAND_LINE = Principal(NO_ID, "command line", "", "admin", "command", "command")
