"""Keys that were good a moment ago: a program that asks very often is let in without another look at the database."""

import time

from crm_api.auth import access
from crm_api.auth.principal import Principal
from shared.clock import now

# a key that is revoked is out at once (access.py); this is for a process that could not hear of it
KEY_KNOWN_SECONDS = 1.0
MOST = 10_000

Name = tuple[str, str]  # hash of the key, address that it came from


class KnownKeys:
    def __init__(self) -> None:
        self._known: dict[Name, tuple[float, int, Principal]] = {}

    def get(self, name: Name) -> Principal | None:
        until, version, principal = self._known.get(name, (0.0, 0, None))
        return principal if principal and version == access.version() and time.monotonic() < until else None

    def put(self, name: Name, principal: Principal, version: int) -> None:
        """version: as it was before the key was looked up."""
        left = (principal.ends_at - now()).total_seconds() if principal.ends_at else KEY_KNOWN_SECONDS
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = (time.monotonic() + min(left, KEY_KNOWN_SECONDS), version, principal)
