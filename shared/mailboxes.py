"""One mail address with or without a name before it: `"Holt, Ida" <ida@example.com>` (RFC 5322, section 3.4)."""

import re

from shared.address_lists import Entry, address_list
from shared.addresses import BadAddress, clean_address, clean_sender
from shared.header_text import BadHeader, one_line

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")  # a name that needs no quotes: atoms of RFC 5322
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r"[^\s<>()\",;:\\@]+@[^\s<>()\",;:\\@]+")
_OURS = re.compile(r'"((?:[^"\\]|\\.)*)" <([^<>]*)>')  # as format_mailbox writes it


def parse_mailbox(text: str) -> tuple[str, str]:
    """(name, address), both clean; the name is empty if there is none. Raises BadAddress, also for several."""
    text = _line(text)
    if _BARE.fullmatch(text):  # most are, and it is read in a moment
        return "", clean_address(text)
    found = mailboxes(text)
    if len(found) > 1:
        raise BadAddress("Write one address here; these are several.")
    bare = _QUOTED.sub("", text)
    if bare.count("<") != bare.count(">"):
        raise BadAddress("A bracket is missing. Write it like Ida Holt <ida@example.com>.")
    if found and found[0].address:
        return _line(found[0].name), clean_address(found[0].address)  # quotes and encoded words may hold anything
    return "", clean_address(text)


def _line(text: str) -> str:
    try:
        return one_line(text)
    except BadHeader as problem:
        raise BadAddress(str(problem)) from problem


def mailboxes(text: str) -> list[Entry]:
    """The entries of a list; a name that format_mailbox wrote comes back to the letter."""
    if ours := _OURS.fullmatch(text):
        return [Entry(re.sub(r"\\(.)", r"\1", ours[1]), ours[2])]
    return address_list(text)


def parse_sender(text: str) -> tuple[str, str]:
    """The same for whom mail comes from or is answered to: see shared.addresses.clean_sender."""
    name, address = parse_mailbox(text)
    return name, clean_sender(address)


def format_mailbox(name: str, address: str) -> str:
    """What parse_mailbox reads back; for people's eyes and for a row of the database, not yet for a header."""
    if not name:
        return address
    plain = f"{name} <{address}>"
    return plain if is_atoms(name) and address_list(plain) == [Entry(name, address)] else f"{quoted(name)} <{address}>"


def is_atoms(name: str) -> bool:
    """Whether the name may stand before an address without quotes."""
    return bool(_ATOMS.fullmatch(name)) and name == name.strip() and "  " not in name


def quoted(name: str) -> str:
    """As a quoted string (RFC 5322, section 3.2.4)."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
