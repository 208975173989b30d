"""`SignedIn`: who is asking, for handlers. The door (door.py) has found it out already."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from crm_api.auth.principal import Principal
from crm_api.errors import NotSignedIn


class _SignedIn(HTTPBearer):
    """A security scheme only so that the OpenAPI document says how to sign in."""

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Raises NotSignedIn: a problem document for the API, the way to /sign-in for a page."""
        principal: Principal | None = getattr(request.state, "principal", None)
        if principal is None:
            raise NotSignedIn("Sign in first.")
        return principal


signed_in = _SignedIn(scheme_name="ApiKey", description="an API key, as `Authorization: Bearer ph_…`")

SignedIn = Annotated[Principal, Depends(signed_in)]
