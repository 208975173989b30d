"""Lists of addresses as people paste them: RFC 5322, section 3.4, and what mail programs and spreadsheets really write.

`crm_api/web/static/addresses.js` does the same in the browser; tests/address_lists.json holds the cases that both pass.
Nothing is checked here and nothing gets lost: what holds no address comes back as the text it was. Takes time by the
length of the text, no more.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from shared.address_tokens import SPACE, Scanner, Token, clean
from shared.encoded_words import decode_words

_LIKE_AN_ADDRESS = re.compile(r"[^\s@<>(),;]+@[^\s@<>(),;]+")
_NO_WORD = re.compile(r"[^\w@]+")
_BETWEEN = " -–—|/:="  # between a name and its address


@dataclass(frozen=True, slots=True)
class Entry:
    """One of a list. address: as it was written, empty if there is none; then text is all of it."""

    name: str
    address: str
    text: str = ""


def address_list(text: str) -> list[Entry]:
    """The entries, in their order."""
    return _Reader(clean(text)).read()


class _Reader:
    """Makes entries of the tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = Scanner(text).scan()
        # between entries of such a list a comma is a name's: Holt, Ida <ida@example.com>; Bo Ek <bo@example.com>
        self.parted = any(token.kind == "end" for token in self.tokens)
        self.entries: list[Entry] = []
        self.surnames = 0  # so many of the last entries are words that a comma ended
        self.at_start = True  # those begin a part of the list

    def read(self) -> list[Entry]:
        item: list[Token] = []
        for token in self.tokens:
            if token.kind in ("comma", "end"):
                self._close(item, token.kind == "comma")
                item = []
            elif token.kind == "bracket":
                self._bracket(item, token)
                item = []
            elif token.kind == "label":
                item = [] if not any("@" in it.text for it in item) else item
            elif token.kind == "comment" and not item and self._name_last(token.text):
                continue
            else:
                item.append(token)
        self._close(item, False)
        return self.entries

    def _close(self, item: list[Token], comma: bool) -> None:
        """The entry ends without a bracket."""
        before = len(self.entries)
        self._plain(item)
        added = self.entries[before:]
        if comma and len(added) == 1 and not added[0].address and all(it.kind == "word" for it in item):
            self.surnames += 1
        elif added or not comma:
            self.surnames, self.at_start = 0, not comma

    def _bracket(self, item: list[Token], bracket: Token) -> None:
        address = _bare(bracket.text)
        if "@" not in address:
            self._keep(item, bracket)
        else:
            name = _name_of(item)
            if item and all(it.kind != "quoted" for it in item):
                name = self._with_surname(name)
            self.entries.append(_entry(name, address))
        self.surnames, self.at_start = 0, False

    def _with_surname(self, name: str) -> str:
        """The words before commas that belong to it: all of a part of the list, else what looks like a surname."""
        words = [entry.text for entry in self.entries[len(self.entries) - self.surnames :]]
        if not (self.parted and self.at_start):
            fitting = 0
            while fitting < len(words) and _is_surname(words[-1 - fitting]):
                fitting += 1
            words = words[len(words) - fitting :]
        if words:
            del self.entries[-len(words) :]
        return ", ".join([*words, name])

    def _name_last(self, comment: str) -> bool:
        """The old way: ida@example.com (Ida Holt)."""
        if not self.entries or not self.entries[-1].address:
            return False
        if not self.entries[-1].name:
            self.entries[-1] = _entry(comment, self.entries[-1].address)
        return True

    def _plain(self, item: list[Token]) -> None:
        """No bracket in it: addresses alone, the cells of a row, or no address at all."""
        tabs = any(token.kind == "tab" for token in item)
        parts = [it for it in item if it.kind != "tab" and not (it.kind == "word" and _NO_WORD.fullmatch(it.text))]
        if not parts:
            return
        found = [_is_address(token) for token in parts]
        named = [token for token, address in zip(parts, found, strict=True) if not address and token.kind != "comment"]
        inside = _bare(parts[-1].text) if parts[-1].kind == "comment" and len(parts) > 1 else ""
        if not any(found) and _LIKE_AN_ADDRESS.fullmatch(inside):  # Ida Holt (ida@example.com)
            self.entries.append(_entry(_name_of(parts[:-1]), inside))
            return
        if not any(found) or (named and not tabs):
            self._keep(item)
            return
        after = found[0] and not found[-1]  # names stand behind their addresses
        waiting: list[Token] = []
        for token, address in zip(parts, found, strict=True):
            if token.kind == "comment":
                self._name_last(token.text)
            elif address:
                if after:
                    self._name_last(_name_of(waiting))
                self.entries.append(_entry("" if after else _name_of(waiting), _bare(token.text)))
                waiting = []
            else:
                waiting.append(token)
        if after:
            self._name_last(_name_of(waiting))

    def _keep(self, item: list[Token], last: Token | None = None) -> None:
        """As it was written, for a person to mend."""
        tokens = [*item, last] if last else item
        text = " ".join(self.text[tokens[0].start : tokens[-1].end].split())
        self.entries.append(Entry("", "", text))


def _is_address(token: Token) -> bool:
    bare = _bare(token.text)
    if token.kind == "word":
        return "@" in bare[1:-1] and (bare.startswith('"') or _LIKE_AN_ADDRESS.fullmatch(bare) is not None)
    return token.kind == "quoted" and _LIKE_AN_ADDRESS.fullmatch(bare) is not None


def _bare(text: str) -> str:
    """An address without what stands around it: quotes, a full stop, mailto:, a source route."""
    text = text.strip(f"{SPACE}\t\n'‘’“”")
    local, at, domain = text.partition("@")
    text = f"{local}{at}{domain.partition('?')[0]}"  # of a link
    if text[:7].lower() == "mailto:":
        text = unquote(text[7:], errors="replace")
    if text.startswith("@") and ":" in text:  # RFC 5322, section 4.4
        text = text.partition(":")[2]
    if '"' not in text:
        text = "".join(text.split())
    elif text.startswith('"') and text.endswith('"') and len(text) > 2:
        text = text[1:-1]
    return text.rstrip(".,;:!?")


def _name_of(item: list[Token]) -> str:
    if len(item) == 1 and item[0].kind == "comment":
        return item[0].text
    words = [f"({it.text})" if it.kind == "comment" else it.text for it in item if it.kind != "tab"]
    return " ".join(words)


def _entry(name: str, address: str) -> Entry:
    name = " ".join(decode_words(name).split()).strip(_BETWEEN)
    for opens, closes in (("'", "'"), ("‘", "’"), ("“", "”"), ('"', '"')):
        if len(name) > 1 and name.startswith(opens) and name.endswith(closes):
            name = name[1:-1].strip()
    return Entry("" if name.lower() == address.lower() else name, address)


def _is_surname(text: str) -> bool:
    """Holt, or van der Berg: one word, or small ones before a last one that is not."""
    words = text.split(" ")
    return len(words) == 1 or (all(it[0].islower() for it in words[:-1]) and not words[-1][0].islower())
