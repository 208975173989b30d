"""A browser that somebody has signed in with keeps a place of its own at the door (OWASP: device cookies).

Tries are counted by address and by account; behind one proxy, or when somebody guesses at an account from everywhere,
both are used up by others. Whoever signed in here before is counted by this browser instead: nobody else can use that
up, and whoever steals the cookie gets these few tries and no more. It opens nothing.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from crm_api.auth.sealing import Seal

LIFE = timedelta(days=365)
MAX_PEOPLE = 4  # who share a browser; of more, those who came last
_PURPOSE = "browser that somebody signed in with"


@dataclass(frozen=True, slots=True)
class KnownBrowser:
    """people: who signed in with it, the last one first."""

    id: str
    people: tuple[str, ...]

    def place_of(self, user_id: UUID | None) -> str | None:
        """What their tries with this browser are counted under; None if they never signed in with it."""
        return f"browser:{self.id}:{user_id}" if str(user_id) in self.people else None


def read(seal: Seal, cookie: str | None) -> KnownBrowser | None:
    opened = seal.open(cookie, _PURPOSE, int(LIFE.total_seconds())) if cookie else None
    if opened is None:
        return None
    found = json.loads(opened)
    return KnownBrowser(found["id"], tuple(found["people"]))


def sealed(seal: Seal, known: KnownBrowser | None, user_id: UUID) -> str:
    """The cookie of a browser that this user has just signed in with."""
    others = [each for each in known.people if each != str(user_id)] if known else []
    browser = {"id": known.id if known else secrets.token_hex(16), "people": [str(user_id), *others][:MAX_PEOPLE]}
    return seal.close(json.dumps(browser), _PURPOSE)
