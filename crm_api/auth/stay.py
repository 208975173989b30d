"""Whoever waits for an answer may do so as long as they may ask: key, session and role can end meanwhile."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from crm_api.auth.access import topic_of
from crm_api.auth.door import look_up
from crm_api.auth.guard import guarded_route, may_use
from crm_api.auth.principal import Principal
from crm_api.errors import NotSignedIn
from shared.clock import now


class Stay:
    """Of one request that waits. topic: comes when something about its user, session or key has changed."""

    def __init__(self, request: Request, principal: Principal) -> None:
        self._request = request
        self._ends_at = principal.ends_at
        self.topic = topic_of(principal.user_id)

    def at_most(self, seconds: float) -> float:
        """So long, or until session or key end by themselves."""
        return min(seconds, max(0.0, (self._ends_at - now()).total_seconds())) if self._ends_at else seconds

    @property
    def is_over(self) -> bool:
        return self._ends_at is not None and self._ends_at <= now()

    def check(self) -> None:
        """After every wait, before anything is given out. Raises NotSignedIn, or Forbidden for a new role."""
        principal = look_up(self._request)
        if principal is None:
            raise NotSignedIn("The session, or the key, has ended meanwhile.")
        may_use(principal, guarded_route(self._request))
        self._ends_at = principal.ends_at

    async def check_again(self) -> None:
        """As `check`, for an event loop."""
        await run_in_threadpool(self.check)


async def _stay(request: Request) -> Stay:
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise NotSignedIn("Sign in first.")
    return Stay(request, principal)


StayDep = Annotated[Stay, Depends(_stay)]
