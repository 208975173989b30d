"""Mail addresses and header values, checked before anything is stored.

CR, LF and NUL are refused here and again where mail is composed: Python's own header checks have holes before
3.11.15.
"""

from email_validator import EmailNotValidError, validate_email

MAX_ADDRESS_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets


class BadAddress(ValueError):
    """The text is no mail address; str() says what is wrong with it, for a person."""


class BadHeader(ValueError):
    """The text cannot stand in a header of a mail."""


def clean_address(text: str) -> str:
    """The address with its domain in lower case; raises BadAddress. Nothing is looked up in the DNS."""
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
