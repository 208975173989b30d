"""One mail address with or without a name before it: `"Holt, Ida" <ida@example.com>` (RFC 5322, section 3.4)."""

import re

from shared.addresses import BadAddress, clean_address
from shared.header_text import BadHeader, one_line

_COMMENT = re.compile(r"([^\s()<>]+)\s*\(([^()]*)\)")  # the old way: ida@example.com (Ida Holt)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")  # a name that needs no quotes: atoms of RFC 5322
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LIKE_THIS = "Write it like Ida Holt <ida@example.com>."
_ESCAPED = re.compile(r"\\(.)")


def parse_mailbox(text: str) -> tuple[str, str]:
    """(name, address), both clean; the name is empty if there is none. Raises BadAddress, also for several."""
    try:
        text = one_line(text)
    except BadHeader as problem:
        raise BadAddress(str(problem)) from problem
    if old := _COMMENT.fullmatch(text):
        return old[2].strip(), clean_address(old[1])
    if not text.endswith(">"):
        if _is_list(text, ",;>"):
            raise BadAddress("Write one address here; these are several.")
        if "<" in text:
            raise BadAddress(f"A bracket is missing. {_LIKE_THIS}")
        return "", clean_address(text)
    name, opened, address = text[:-1].rpartition("<")
    if not opened:
        raise BadAddress(f"A bracket is missing. {_LIKE_THIS}")
    if _is_list(name, ",;<>"):
        raise BadAddress("Write one address here; these are several.")
    return _plain_name(name), clean_address(address)


def format_mailbox(name: str, address: str) -> str:
    """What parse_mailbox reads back; for people's eyes and for a row of the database, not yet for a header."""
    if not name:
        return address
    return f"{name} <{address}>" if is_atoms(name) else f"{quoted(name)} <{address}>"


def is_atoms(name: str) -> bool:
    """Whether the name may stand before an address without quotes."""
    return bool(_ATOMS.fullmatch(name)) and name == name.strip() and "  " not in name


def quoted(name: str) -> str:
    """As a quoted string (RFC 5322, section 3.2.4)."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_list(text: str, signs: str) -> bool:
    """Whether one more address stands in it; a comma alone is a name's: Holt, Ida <ida@example.com>."""
    bare = _QUOTED.sub("", text)
    return "@" in bare and any(sign in bare for sign in signs)


def _plain_name(text: str) -> str:
    """Without the quotes of quoted strings and the escapes in them."""
    parts, end = [], 0
    for found in _QUOTED.finditer(text):
        parts += [text[end : found.start()], _ESCAPED.sub(r"\1", found[1])]
        end = found.end()
    return "".join([*parts, text[end:]]).strip()
