"""Passwords: Argon2id, with the same work whether the account exists or not."""

import secrets
import threading
from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError

from crm_api.errors import Invalid
from shared.well_known import is_well_known, repeats

MAX_PASSWORD_CHARACTERS = 1000
MIN_PASSWORD_CHARACTERS = 12

_argon2 = PasswordHash.recommended()
# each verification takes 64 MiB; a crowd at the door must not take the machine's memory
_at_once = threading.BoundedSemaphore(4)
# no 0 and O, no 1 and l: it is read from a terminal and typed
_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def hash_password(password: str) -> str:
    with _at_once:
        return _argon2.hash(password)


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe())


def check_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """(right, new hash to store if the parameters have changed). stored: None for an account that is none."""
    nobodys = _nobodys_hash()
    with _at_once:
        try:
            right, better = _argon2.verify_and_update(password, stored or nobodys)
        except PwdlibError:  # what is stored is no hash: nobody gets in with it
            return False, None
    return right and stored is not None, better


def check_new_password(password: str, email: str, field: str = "password", name: str = "") -> None:
    """Raises Invalid. Length counts, and that nobody guesses it; no signs of any kind are asked for (NIST SP 800-63B,
    section 3.1.1.2)."""
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise Invalid.field(
            field, f"A password has at least {MIN_PASSWORD_CHARACTERS} characters. Three or four words do well."
        )
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise Invalid.field(field, f"A password has at most {MAX_PASSWORD_CHARACTERS:,} characters.")
    plain = password.casefold()
    if repeats(plain) or plain in email or email in plain or is_well_known(plain, [email, name]):
        raise Invalid.field(
            field, "This one is guessed too easily. Three or four words that nobody else would put together do well."
        )


def make_up_password() -> str:
    """Four groups of five, 116 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))
