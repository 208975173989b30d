"""Mail addresses and header values, checked before anything is stored.

CR, LF and NUL are refused here and again where mail is composed: Python's own header checks have holes before
3.11.15.
"""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

MAX_ADDRESS_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
MAX_NAME_CHARACTERS = 64  # RFC 5321, section 4.5.3.1.1
MAX_DOMAIN_CHARACTERS = 253

# an atom of RFC 5322, section 3.2.3, without capitals: those of INFO@ and its like are made small
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_NAME = re.compile(rf"{_ATOM}(\.{_ATOM})*")


class BadAddress(ValueError):
    """The text is no mail address; str() says what is wrong with it, for a person."""


class BadHeader(ValueError):
    """The text cannot stand in a header of a mail."""


def clean_address(text: str) -> str:
    """The address with its domain in lower case; raises BadAddress. Nothing is looked up in the DNS."""
    # most mail goes to a few domains, and most names are plain: to look at both in full takes ten times as long
    name, _, domain = text.strip().rpartition("@")
    if len(name) <= MAX_NAME_CHARACTERS and len(domain) <= MAX_DOMAIN_CHARACTERS and _PLAIN_NAME.fullmatch(name):
        clean = _known_domain(domain)
        if clean and len(address := f"{name}@{clean}") <= MAX_ADDRESS_CHARACTERS:
            return address
    return _checked_address(text)


@lru_cache(4096)
def _known_domain(domain: str) -> str | None:
    """As it is written in an address; None if it is no domain."""
    try:
        return _checked_address(f"a@{domain}").rpartition("@")[2]
    except BadAddress:
        return None


def _checked_address(text: str) -> str:
    try:
        # reserved domains (example.com, .test) are where the sandbox and every trial go
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True, allow_smtputf8=True)
    except EmailNotValidError as problem:
        if "@" not in text:
            raise BadAddress("Write the whole address, like ida@example.com.") from problem
        raise BadAddress(f"This is not a mail address: {problem}") from problem
    if len(found.normalized) > MAX_ADDRESS_CHARACTERS:
        raise BadAddress(f"An address has at most {MAX_ADDRESS_CHARACTERS} characters.")
    return found.normalized


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()


def check_header(text: str) -> str:
    """The text itself if it can stand in a header (no CR, LF, NUL: RFC 5322, section 2.2); else BadHeader."""
    if any(character in text for character in "\r\n\0"):
        raise BadHeader("A line break or NUL cannot stand here.")
    return text
