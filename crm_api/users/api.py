"""/api/v1/users, and /api/v1/me: who is asking."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from crm_api.auth.deps import SignedIn
from crm_api.auth.roles import BY_NAME
from crm_api.deps import DatabaseDep, FilesDep, SettingsDep
from crm_api.paging import Page
from crm_api.users import service
from crm_api.users.schemas import Me, UserIn, UserOut, UserPatch

router = APIRouter(prefix="/api/v1", tags=["users"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the page before")]


@router.get("/me")
def me(signed_in: SignedIn) -> Me:
    """Whom this key acts for, and what it may do."""
    return Me(
        user_id=signed_in.user_id,
        name=signed_in.name,
        email=signed_in.email,
        role=signed_in.role,
        key=signed_in.key or None,
        may=[verb for verb in BY_NAME if signed_in.may(verb)],
    )


@router.get("/users")
def list_users(database: DatabaseDep, _: SignedIn, cursor: Cursor = None, limit: Limit = 50) -> Page[UserOut]:
    """By address."""
    with database.read() as session:
        found, following = service.list_page(session, cursor, limit)
        seen = service.last_seen(session, found)
        return Page(items=[UserOut.of(user, seen.get(user.id)) for user in found], next=following)


@router.post("/users", status_code=201)
def invite_user(
    database: DatabaseDep, files: FilesDep, settings: SettingsDep, signed_in: SignedIn, body: UserIn, response: Response
) -> UserOut:
    """Mails an invitation: a link to choose a password, for three days."""
    with database.write() as session:
        user = service.add(session, signed_in, body.email, body.name, body.role)
        service.invite(session, files, settings, signed_in, user.id)
        response.headers["Location"] = f"/api/v1/users/{user.id}"
        return UserOut.of(user)


@router.get("/users/{user_id}")
def get_user(database: DatabaseDep, _: SignedIn, user_id: UUID) -> UserOut:
    with database.read() as session:
        user = service.get(session, user_id)
        return UserOut.of(user, service.last_seen(session, [user]).get(user.id))


@router.patch("/users/{user_id}")
def change_user(database: DatabaseDep, signed_in: SignedIn, user_id: UUID, body: UserPatch) -> UserOut:
    """A new role acts from the next request on. 409 for the only admin."""
    with database.write() as session:
        return UserOut.of(service.change(session, signed_in, user_id, body.name, body.role))


@router.post("/users/{user_id}/invite")
def invite_again(
    database: DatabaseDep, files: FilesDep, settings: SettingsDep, signed_in: SignedIn, user_id: UUID
) -> UserOut:
    """Mails a link once more: for a first password, or for a new one. Earlier links end."""
    with database.write() as session:
        return UserOut.of(service.invite(session, files, settings, signed_in, user_id))


@router.post("/users/{user_id}/disable")
def disable_user(database: DatabaseDep, signed_in: SignedIn, user_id: UUID) -> UserOut:
    """Ends every session; keys that act for them open nothing. What they did keeps their name."""
    with database.write() as session:
        return UserOut.of(service.disable(session, signed_in, user_id))


@router.post("/users/{user_id}/enable")
def enable_user(database: DatabaseDep, signed_in: SignedIn, user_id: UUID) -> UserOut:
    with database.write() as session:
        return UserOut.of(service.enable(session, signed_in, user_id))
