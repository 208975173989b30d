"""Mail addresses: one check for both sides, and one key by which they are the same or not."""

import re
import unicodedata
from functools import lru_cache

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

MAX_ADDRESS_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
MAX_NAME_CHARACTERS = 64  # RFC 5321, section 4.5.3.1.1
MAX_DOMAIN_CHARACTERS = 253

# an atom of RFC 5322, section 3.2.3, without capitals: those of INFO@ and its like are made small
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_SIGN = (
    r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff<>\"(),:;\\\[\]@]"  # what neither a command nor a header gives a meaning to
)
_MAILBOX = re.compile(f"{_SIGN}+@{_SIGN}+")
_PLAIN_NAME = re.compile(rf"{_ATOM}(\.{_ATOM})*")


class BadAddress(ValueError):
    """The text is no mail address; str() says what is wrong with it, for a person."""


def clean_address(text: str) -> str:
    """The address with its domain in lower case; raises BadAddress. Nothing is looked up in the DNS."""
    # most mail goes to a few domains, and most names are plain: to look at both in full takes ten times as long
    name, _, domain = text.strip().rpartition("@")
    if len(name) <= MAX_NAME_CHARACTERS and len(domain) <= MAX_DOMAIN_CHARACTERS and _PLAIN_NAME.fullmatch(name):
        known = _known_domain(domain)
        if known and len(address := f"{name}@{known[0]}") <= MAX_ADDRESS_CHARACTERS:
            return address
    return _checked(text).normalized


def address_key(address: str) -> str:
    """What all ways to write one address have in common: NFC, small letters, the domain in its ASCII form.

    Whoever compares, counts, finds or forbids addresses does it by this. What is no address has a key, too.
    """
    address = address.strip()
    if address.isascii():
        return address.lower()
    name, at, domain = address.rpartition("@")
    return f"{_small(name)}{at}{ascii_domain(domain)}"


def wire_address(address: str) -> str:
    """As SMTP wants it (RFC 5321, section 4.1.2): the domain in ASCII, the rest as it is. Raises BadAddress for what
    would break a command or a header; that it is a good address was clean_address's to say."""
    if not _MAILBOX.fullmatch(address):
        raise BadAddress("This is not a mail address.")
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    if not (known := ascii_domain(domain)).isascii():
        raise BadAddress(f"{domain} is no domain that mail can be sent to.")
    return f"{local}@{known}"


def clean_sender(address: str) -> str:
    """An address that mail comes from or is answered to; raises BadAddress.

    What stands before its @ is ASCII: else only servers that know SMTPUTF8 (RFC 6531) take a mail from it, and on the
    way to most people there is one that does not.
    """
    address = clean_address(address)
    if not address.rpartition("@")[0].isascii():
        raise BadAddress(
            "Before the @ of a sender stand only plain letters, digits and signs: many servers refuse others."
        )
    return address


def ascii_domain(domain: str) -> str:
    """As the DNS and SMTP know it (A-labels: RFC 5890), in small letters; what is no domain comes back small."""
    if domain.isascii():
        return domain.lower()
    known = _known_domain(domain) if len(domain) <= MAX_DOMAIN_CHARACTERS else None
    return known[1] if known else _small(domain)


def _small(text: str) -> str:
    # to make letters small can take them apart (U+0130); a second time it changes nothing
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


@lru_cache(4096)
def _known_domain(domain: str) -> tuple[str, str] | None:
    """As it is written in an address, and in ASCII; None if it is no domain."""
    try:
        found = _checked(f"a@{domain}")
    except BadAddress:
        return None
    return found.domain, found.ascii_domain


def _checked(text: str) -> ValidatedEmail:
    try:
        # reserved domains (example.com, .test) are where the sandbox and every trial go
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True, allow_smtputf8=True)
    except EmailNotValidError as problem:
        if "@" not in text:
            raise BadAddress("Write the whole address, like ida@example.com.") from problem
        raise BadAddress(f"This is not a mail address: {problem}") from problem
    if len(found.normalized) > MAX_ADDRESS_CHARACTERS:
        raise BadAddress(f"An address has at most {MAX_ADDRESS_CHARACTERS} characters.")
    return found


def domain_of(address: str) -> str:
    """In its ASCII form."""
    return ascii_domain(address.rpartition("@")[2])
