"""Text that stands in one line, as a header of a mail or a name: what is cleaned, and what is refused.

The one set of rules for both sides: what crm_api takes is what email_service can write (RFC 5322, section 2.2).
"""

import re
import unicodedata

# white space that people paste without seeing it: a tab, separators of lines and columns. No CR and LF: in what should
# be one line they come from no person's hand, and a header that is broken in two is what an intruder wants
_WHITE = re.compile(r" *[\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029][ \t\x0b\x0c\x1c-\x1f\x85\u2028\u2029]*")
# control characters (C0, DEL, C1), and halves of characters, which no encoding can write
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAMES = {"\r": "A line break", "\n": "A line break", "\0": "A NUL"}


class BadHeader(ValueError):
    """The text cannot stand in a header of a mail; str() says why, for a person."""


def one_line(text: str) -> str:
    """What somebody gave as it is kept: in one line, NFC, stripped. Raises BadHeader."""
    if not text.isprintable():  # nothing that is cleaned or refused is
        text = unfolded(text)
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()


def unfolded(text: str) -> str:
    """The text as it can stand in a header: a tab or the like becomes a space. Raises BadHeader."""
    text = _WHITE.sub(" ", text)
    if found := _REFUSED.search(text):
        before = text[max(0, found.start() - 20) : found.start()]
        what = _NAMES.get(found[0]) or f"A control character (U+{ord(found[0]):04X})"
        place = f" It comes after “{before}”." if before else ""
        raise BadHeader(f"{what} cannot stand here.{place}")
    return text


def lenient_line(text: str) -> str:
    """The same for what was stored long ago, when rules were others: what cannot stand in a line is left out."""
    if not text.isprintable():
        text = _REFUSED.sub("", re.sub(r"[\r\n]+", " ", _WHITE.sub(" ", text)))
    return one_line(text)
