"""`SignedIn`: who is asking, for handlers. The door (door.py) has found it out already."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from crm_api.auth.principal import Principal
from crm_api.errors import NotSignedIn

# only so that the OpenAPI document says how to sign in
_described = HTTPBearer(
    auto_error=False, scheme_name="API key", description="an API key, as `Authorization: Bearer ph_…`"
)


async def signed_in(request: Request, _: Annotated[object, Depends(_described)]) -> Principal:
    """Raises NotSignedIn: a problem document for the API, the way to /sign-in for a page."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise NotSignedIn("Sign in first.")
    return principal


SignedIn = Annotated[Principal, Depends(signed_in)]
