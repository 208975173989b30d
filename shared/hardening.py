"""What a production start refuses: secrets that are known, short, or would travel in plain text.

Nobody can tell from inside whether a secret is a good one; these are the ones that everybody tries first.
"""

import ipaddress

from shared.well_known import is_well_known, repeats

# least lengths, characters; given: by somebody else, who has rules of their own
MACHINE, PERSON, KEY, GIVEN = 16, 12, 32, 8


def weakness(secret: str, user: str = "", least: int = MACHINE) -> str | None:
    """What is wrong with it, to be put after the name of the setting; None if nothing is. Never says the secret."""
    if not secret:
        return "has no password"
    if secret.lower() == user.lower() or is_well_known(secret, [user]):
        return "has a password that everybody knows"
    if len(secret) < least:
        return f"is too short: give at least {least} characters"
    if repeats(secret):
        return "repeats itself: make up another one"
    return None


def weak_password(user: str, password: str, needed: bool) -> str | None:
    """The same for a user and password; `needed`: without a password a default would be used."""
    if not password and not needed:
        return None
    return weakness(password, user)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
