"""/api/v1/audit."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api.audit import service
from crm_api.audit.schemas import AuditOut
from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep
from crm_api.moments import Moment
from crm_api.paging import Cursor, Limit, Page

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


@router.get("")
def list_audit(
    database: DatabaseDep,
    _: SignedIn,
    actor_id: Annotated[UUID | None, Query(description="a user")] = None,
    action: Annotated[str, Query(max_length=50, description="as `user.disabled`, or `user.` for all of users")] = "",
    object_id: Annotated[str, Query(max_length=100)] = "",
    since: Moment | None = None,
    until: Annotated[Moment | None, Query(description="not included")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditOut]:
    """Who did what to which object, when, from where; newest first. Entries are never changed or deleted."""
    wanted = service.Filter(actor_id, action, object_id, since, until)
    with database.read() as session:
        found, following = service.list_page(session, wanted, cursor, limit)
        return Page(items=[AuditOut.model_validate(entry) for entry in found], next=following)
