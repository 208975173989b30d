"""/api/v1/users, and /api/v1/me: who is asking."""

from uuid import UUID

from fastapi import APIRouter, Response
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.auth.models import User
from crm_api.auth.roles import BY_NAME
from crm_api.deps import DatabaseDep, FilesDep, SettingsDep
from crm_api.paging import Cursor, Limit, Page
from crm_api.preconditions import TAGGED, TAGGED_NEW, Condition, IfMatch, etag_of, tell
from crm_api.users import service
from crm_api.users.schemas import Me, UserIn, UserOut, UserPatch

router = APIRouter(prefix="/api/v1", tags=["users"])


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


@router.post("/users", status_code=201, responses=TAGGED_NEW)
def invite_user(
    database: DatabaseDep, files: FilesDep, settings: SettingsDep, signed_in: SignedIn, body: UserIn, response: Response
) -> UserOut:
    """Mails an invitation: a link to choose a password, for three days."""
    with database.write() as session:
        user = service.add(session, signed_in, body.email, body.name, body.role)
        service.invite(session, files, settings, signed_in, user.id)
        response.headers["Location"] = f"/api/v1/users/{user.id}"
        return _out(session, user, response)


@router.get("/users/{user_id}", responses=TAGGED)
def get_user(database: DatabaseDep, _: SignedIn, user_id: UUID, response: Response) -> UserOut:
    """`ETag` stands for what can be changed: send it as `If-Match` to change only this version."""
    with database.read() as session:
        return _out(session, service.get(session, user_id), response)


@router.patch("/users/{user_id}", responses=TAGGED)
def change_user(
    database: DatabaseDep, signed_in: SignedIn, user_id: UUID, body: UserPatch, if_match: IfMatch, response: Response
) -> UserOut:
    """Changes what is given and nothing else. A new role acts from the next request on. 409 for the only admin."""
    with database.write() as session:
        _check(session, user_id, if_match)
        return _out(session, service.change(session, signed_in, user_id, body.name, body.role), response)


@router.post("/users/{user_id}/invite")
def invite_again(
    database: DatabaseDep, files: FilesDep, settings: SettingsDep, signed_in: SignedIn, user_id: UUID
) -> UserOut:
    """Mails a link once more: for a first password, or for a new one. Earlier links end."""
    with database.write() as session:
        return UserOut.of(service.invite(session, files, settings, signed_in, user_id))


@router.post("/users/{user_id}/disable", responses=TAGGED)
def disable_user(
    database: DatabaseDep, signed_in: SignedIn, user_id: UUID, if_match: IfMatch, response: Response
) -> UserOut:
    """Ends every session; keys that act for them open nothing. What they did keeps their name."""
    with database.write() as session:
        _check(session, user_id, if_match)
        return _out(session, service.disable(session, signed_in, user_id), response)


@router.post("/users/{user_id}/enable", responses=TAGGED)
def enable_user(
    database: DatabaseDep, signed_in: SignedIn, user_id: UUID, if_match: IfMatch, response: Response
) -> UserOut:
    with database.write() as session:
        _check(session, user_id, if_match)
        return _out(session, service.enable(session, signed_in, user_id), response)


def _out(session: Session, user: User, response: Response) -> UserOut:
    session.flush()
    tell(response, _etag(user))
    return UserOut.of(user, service.last_seen(session, [user]).get(user.id))


def _etag(user: User) -> str:
    """All that can be changed about an account here; not when somebody was last seen."""
    return etag_of("user", user.id, user.email, user.name, user.role, service.condition(user), user.second_factor)


def _check(session: Session, user_id: UUID, if_match: Condition) -> None:
    """Locks the account first: what is compared is what will be changed."""
    if if_match:
        if_match.check(_etag(service.get_to_change(session, user_id)))
