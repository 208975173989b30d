"""How an entry comes into the audit: in the transaction of the change itself, or neither is there."""

from typing import Any
from uuid import UUID

from sqlmodel import Session

from crm_api.audit.actions import ACTIONS
from crm_api.audit.models import AuditEntry
from crm_api.auth.principal import NO_ID, Principal
from shared.clock import now
from shared.ids import new_id

MOST_CHARACTERS = 200  # of an object's name


def record(session: Session, by: Principal, action: str, object_id: UUID | str, name: str, /, **data: object) -> None:
    """data: what else should be known later. Never a secret, and of a customer only which fields, not what was in them:
    an entry stays for ever."""
    session.add(AuditEntry(**row(by, action, object_id, name, data)))


def row(
    by: Principal, action: str, object_id: UUID | str, name: str, data: dict[str, object] | None = None
) -> dict[str, Any]:
    """Column → value; raises KeyError for an action that ACTIONS does not have."""
    assert ACTIONS[action]
    return {
        "id": new_id(),
        "at": now(),
        "action": action,
        "actor_id": by.user_id if by.user_id != NO_ID else None,
        "actor": by.name,
        "via": by.via,
        "key": by.key,
        "address": by.address,
        "object_id": str(object_id),
        "object_name": name[:MOST_CHARACTERS],
        "data": data or {},
    }
