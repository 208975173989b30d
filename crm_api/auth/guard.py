"""Asked before every route, when it is known which one it is: may who asks do this? See the table in roles.py."""

import logging

from starlette.requests import Request

from crm_api.auth.principal import Principal
from crm_api.auth.roles import BY_ROUTE, Verb, is_role_for
from crm_api.errors import Forbidden, NotSignedIn

log = logging.getLogger(__name__)


async def guard(request: Request) -> None:
    """As `allow`, for the route that was found: every route of the application depends on it (create_app)."""
    allow(request, guarded_route(request))


def guarded_route(request: Request) -> str:
    """As the table writes it, once it is known which route it is."""
    return f"{request.method} {request.scope['route'].path}"


def allow(request: Request, route: str) -> None:
    """Raises Forbidden, also for a route that the table does not name; NotSignedIn if nobody is."""
    verb = BY_ROUTE.get(route)
    if verb is None:
        log.error("no verb names the route %s: it is closed", route)
        raise Forbidden("Nobody may do this yet: it has no place in the table of roles.")
    if not verb.roles:
        return
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise NotSignedIn("Sign in first.")
    may_use(principal, route)


def may_use(principal: Principal, route: str) -> None:
    """The same for somebody in particular, and a route that the table names."""
    verb = BY_ROUTE[route]
    if not principal.may(verb.name):
        raise Forbidden(_why_not(principal, verb))


def _why_not(principal: Principal, verb: Verb) -> str:
    if not is_role_for(principal.role, verb):
        return f"To {verb.says} is not for your role ({principal.role}). An admin can give you another."
    if verb.person:
        return "This is for a person who is signed in, not for an API key."
    return f"This key has not the scope {verb.name}."
