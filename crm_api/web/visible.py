"""Texts of others, shown for what they are: the last thing that happens to every page and fragment.

A sign that turns the direction of writing, or cannot be seen, is written out ([U+202E]): "gpj.exe" must not look like
"exe.jpg". A word of Latin letters and ones that look like them says so, and a domain that is not ASCII has its ASCII
form beside it (RFC 5890), which nobody can imitate. What people edit, send back or follow stays as it is, letter by
letter: values of fields, addresses of links, data of scripts. So does everything in the API.
(Unicode TR 36, sections 2.2 and 3.3; TR 39, section 5.1)
"""

import re
import unicodedata
from functools import lru_cache

from shared.addresses import ascii_domain

# controls of direction; what has no width; controls but tab and line breaks; letters that are blank. Not the joiners,
# which Persian, Hindi and emoji need
_HIDDEN = (
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029"
    "\u115f\u1160\u3164\uffa0"
)
# Greek, Cyrillic, Armenian, Cherokee, Coptic: alphabets with letters that look like Latin ones
_ALIKE = (
    "\u0370-\u03ff\u1f00-\u1fff\u0400-\u052f\u1c80-\u1c8f\ua640-\ua69f\u0531-\u058f"
    "\u13a0-\u13ff\uab70-\uabbf\u2c80-\u2cff"
)
_hidden = re.compile(f"[{_HIDDEN}]")
_ascii_hidden = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_unusual = re.compile(f"[{_HIDDEN}{_ALIKE}]")
_foreign_domain = re.compile(r'@[^\s<>"]*[^\x00-\x7f]')
_token = re.compile(r"[^\s<>\"“”()\[\],;]+")
_word = re.compile(r"[^\W\d_]+")
_host = re.compile(r"(?:[\w-]+\.)+[A-Za-z]{2,}")
_looks_alike = re.compile(f"[{_ALIKE}]")

# a whole text field, a tag, or text
_PIECE = re.compile(r"<textarea\b.*?</textarea>|<[^>]*>|[^<]+", re.IGNORECASE | re.DOTALL)
_SAID = re.compile(r'(?<=[\s])(title|aria-label|alt|placeholder)="([^"]*)"')


def visible_page(html: str) -> str:
    """HTML in which every text, and every attribute that is read out or shown, is visible."""
    return _PIECE.sub(_piece, html) if _is_worth_a_look(html) else html


def _is_worth_a_look(text: str) -> bool:
    """Asked of every page: three plain searches take a fraction of the time of one that looks for all at once."""
    if text.isascii():
        return _ascii_hidden.search(text) is not None
    return _unusual.search(text) is not None or _foreign_domain.search(text) is not None


def _piece(found: re.Match[str]) -> str:
    piece = found[0]
    if not _is_worth_a_look(piece):
        return piece
    if piece.startswith("<"):
        return piece if piece[:9].lower() == "<textarea" else _SAID.sub(_attribute, piece)
    return visible(piece)


def _attribute(found: re.Match[str]) -> str:
    return f'{found[1]}="{visible(found[2])}"'


def visible(text: str) -> str:
    """One text. What is added is ASCII without signs that HTML knows, so it may be escaped before or after."""
    if not _is_worth_a_look(text):
        return text
    return _hidden.sub(lambda sign: f"[U+{ord(sign[0]):04X}]", _token.sub(_explained, text))


def _explained(found: re.Match[str]) -> str:
    token = found[0]
    return token if token.isascii() else _explain(token)


@lru_cache(10_000)
def _explain(token: str) -> str:
    plain = _hidden.sub("", token)
    _, at, domain = plain.rpartition("@")
    domain = domain.rstrip(".:!?…'’")
    if at and not domain.isascii() and (known := ascii_domain(domain)).isascii():
        return f"{token} ({known})"
    if (host := _host.search(plain)) and _looks_alike.search(host[0]) and (known := ascii_domain(host[0])).isascii():
        return f"{token} ({known})"
    kinds = sorted({kind for word in _word.findall(plain) for kind in _mixed(word)})
    return f"{token} [{' and '.join(kinds)} letters]" if kinds else token


def _mixed(word: str) -> set[str]:
    """Latin, Cyrillic: the alphabets of a word that has more than one, and looks as if it had not."""
    if not _looks_alike.search(word):
        return set()
    kinds = {unicodedata.name(letter, "").partition(" ")[0].capitalize() for letter in word}
    return kinds if "Latin" in kinds and len(kinds) > 1 else set()
