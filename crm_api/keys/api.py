"""/api/v1/keys."""

from uuid import UUID

from fastapi import APIRouter, Response

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep
from crm_api.keys import service
from crm_api.keys.schemas import KeyIn, KeyOut, NewKey
from crm_api.paging import Cursor, Limit, Page

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])


@router.get("")
def list_keys(
    database: DatabaseDep,
    signed_in: SignedIn,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[KeyOut]:
    """Those that act for the same user, newest first, also those that ended. Never the keys themselves."""
    with database.read() as session:
        found, following = service.list_page(session, signed_in, cursor, limit)
        return Page(items=[KeyOut.of(key) for key, _user in found], next=following)


@router.post("", status_code=201)
def make_key(database: DatabaseDep, signed_in: SignedIn, body: KeyIn, response: Response) -> NewKey:
    """The key stands in this answer and never again. It acts for the same user, may no more, and ends not later."""
    with database.write() as session:
        key, secret = service.make(
            session, signed_in, body.user_id or signed_in.user_id, body.name, body.scopes, body.days
        )
        response.headers["Cache-Control"] = "no-store"
        return NewKey(**KeyOut.of(key).model_dump(), key=secret)


@router.post("/{key_id}/revoke")
def revoke_key(database: DatabaseDep, signed_in: SignedIn, key_id: UUID) -> KeyOut:
    """Acts at once, also for every key that was made with it. 409 if it was revoked before."""
    with database.write() as session:
        return KeyOut.of(service.revoke(session, signed_in, key_id))
