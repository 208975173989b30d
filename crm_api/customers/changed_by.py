"""Who changed or deleted what somebody else is just editing: read from the time line and the audit."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from crm_api.audit.models import RARE, AuditEntry
from crm_api.customers.models import CustomerEntry
from crm_api.edits import Change

_LOOKED_AT = 50  # newest lines of a time line; who changed it while a form was open stands among them


def changed_by(session: Session, customer_id: UUID, contact_id: UUID | None = None) -> dict[str, Change]:
    """Field → who changed it last, of the customer itself or of one contact there."""
    found: dict[str, Change] = {}
    for entry in _entries(session, customer_id):
        of = str(entry.data.get("id")) if entry.kind == "contact" else None
        if entry.kind in ("changed", "contact") and of == (str(contact_id) if contact_id else None):
            for name in _fields(entry):
                found.setdefault(name, Change(entry.by, entry.at))
    return found


def archived_by(session: Session, customer_id: UUID) -> Change | None:
    return next((Change(it.by, it.at) for it in _entries(session, customer_id) if it.kind == "archived"), None)


def contact_removed_by(session: Session, customer_id: UUID, contact_id: UUID) -> Change | None:
    """None if no such contact was ever removed."""
    for entry in _entries(session, customer_id):
        if entry.kind == "contact" and entry.data.get("verb") == "removed" and entry.data.get("id") == str(contact_id):
            return Change(entry.by, entry.at)
    return None


def removed_by(session: Session, customer_id: UUID) -> Change | None:
    """None if no such customer was ever deleted."""
    found = session.exec(
        select(AuditEntry)
        .where(AuditEntry.object_id == str(customer_id), AuditEntry.action == "customer.removed", text(RARE))
        .limit(1)
    ).first()
    return Change(found.actor, found.at) if found else None


def _entries(session: Session, customer_id: UUID) -> list[CustomerEntry]:
    rows = select(CustomerEntry).where(CustomerEntry.customer_id == customer_id)
    return list(session.exec(rows.order_by(col(CustomerEntry.id).desc()).limit(_LOOKED_AT)))


def _fields(entry: CustomerEntry) -> Iterable[str]:
    changes = entry.data.get("changes")
    return changes if isinstance(changes, dict) else ()
