"""How far an API key reaches through others: it gives nobody more than it may itself, and touches nobody who may more.

A person may do what their role says. A key that makes an admin, lets one in again or changes what one may would be
wider than it was made, by a detour; so would one that reads the link with which somebody chooses a password.
"""

from crm_api.auth.principal import Principal
from crm_api.auth.roles import SCOPES, granted
from crm_api.errors import Forbidden


def check_reach(by: Principal, *roles: str) -> None:
    """Raises Forbidden if one of these roles may what the key has no scope for."""
    if by.via != "api":
        return
    own = granted(by.role, True, by.scopes)
    beyond = sorted(set().union(*(granted(role) for role in roles)) & set(SCOPES) - own)
    if beyond:
        raise Forbidden(
            "A key gives nobody more than it may itself, and changes nobody who may more. "
            f"This one has not: {', '.join(beyond)}."
        )


def is_narrow(by: Principal) -> bool:
    """A key that does not stand for all that its user may, or not for ever."""
    return by.via == "api" and (by.scopes is not None or by.ends_at is not None)
