"""The words, quoted names, comments and brackets of a pasted list of addresses, and what stands between its entries.

The browser's half of this is `crm_api/web/static/address_tokens.js`.
"""

import re
from dataclasses import dataclass
from typing import Literal

# marks that nobody sees, as address books put them around what is copied; not the two that join letters
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\0]")
_LINES = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
_WIDE = str.maketrans("＜＞＠，；、", "<>@,;,")
SPACE = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# quotes: what opens → what may close
_CLOSERS = {'"': '"', "“": "”“", "„": "“”", "”": "”", "«": "»", "»": "«", "'": "'", "‘": "’", "‚": "‘"}
_SINGLE = "'‘‚"  # also apostrophes: they quote only what a whole name is
_WORD_ENDS = frozenset(f',;\n\t"<>({SPACE}')
_BRACKETED = re.compile(r"\[(?:mailto:)?([^\[\]\s<>@,;]{1,256}@[^\[\]\s<>,;]{1,256})\]", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"<([^<>\n]*)>")
_LINK = re.compile(r"mailto:[^\s<>\";,?]*(?:\?[^\s<>\";]*)?", re.IGNORECASE)  # RFC 6068; commas may be in its questions

Kind = Literal["word", "quoted", "comment", "bracket", "comma", "end", "label", "tab"]


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    start: int
    end: int


def clean(text: str) -> str:
    """With one kind of line end, of comma and of bracket."""
    return _LINES.sub("\n", _UNSEEN.sub("", text.translate(_WIDE)))


class Scanner:
    """Takes the text apart into words, quoted names, comments, brackets and what stands between entries."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[Token] = []
        self.fresh = True  # nothing of the entry has come yet
        self.hopeless: dict[str, int] = {}  # sign → up to where it is known to have no partner

    def scan(self) -> list[Token]:
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign == "\n":
                self._line_end()
            elif sign in ",;":
                self._add("comma" if sign == "," else "end", sign, self.at + 1)
                self.fresh = True
            elif sign == "\t":
                self._add("tab", sign, self.at + 1)
            elif sign in SPACE or sign == ">":
                self.at += 1
            elif not self._whole(sign):
                self._word()
        return self.tokens

    def _add(self, kind: Kind, text: str, end: int) -> None:
        self.tokens.append(Token(kind, text, self.at, end))
        self.at = end
        self.fresh = False

    def _line_end(self) -> None:
        """A line that begins with a bracket goes on with the one before."""
        end = self.at
        while end < len(self.text) and (self.text[end] in "\n\t" or self.text[end] in SPACE):
            end += 1
        if not self.fresh and self.text[end : end + 1] in ("<", "(") and self.tokens[-1].kind in ("word", "quoted"):
            self.at = end
            return
        self._add("end", "\n", end)
        self.fresh = True

    def _whole(self, sign: str) -> bool:
        """What stands in quotes or brackets, if its other end comes on the same line."""
        if sign == "(":
            return self._comment()
        if sign in _CLOSERS and (sign not in _SINGLE or self.fresh):
            return self._quoted(sign)
        found = None
        if sign == "<":
            found = _IN_BRACKETS.match(self.text, self.at)
        elif sign == "[":
            found = _BRACKETED.match(self.text, self.at)
        if found:
            self._add("bracket", found[1], found.end())
        elif sign == "<":
            self.at += 1
        return bool(found) or sign == "<"

    def _quoted(self, sign: str) -> bool:
        if self.at < self.hopeless.get(sign, 0):
            return False
        end = self._closing(sign)
        if end < 0:
            return False
        content = self.text[self.at + 1 : end]
        if sign == '"':
            if self.text[end + 1 : end + 2] == "@":  # a local part in quotes (RFC 5321, section 4.1.2)
                start = self.at
                self.at = end + 1
                self._word(start)
                return True
            content = re.sub(r"\\(.)", r"\1", content)
        self._add("quoted", content, end + 1)
        return True

    def _closing(self, sign: str) -> int:
        """Where the quote ends; -1 if it does not."""
        closers, single, at = _CLOSERS[sign], sign in _SINGLE, self.at + 1
        while at < len(self.text):
            here = self.text[at]
            if here == "\\" and sign == '"':
                at += 1
            elif here in closers and (not single or self._ends_name(at + 1)):
                return at
            elif (here == "\n" and self.text[at + 1 : at + 2] not in (" ", "\t")) or (single and here in "<>;\n"):
                break
            at += 1
        self.hopeless[sign] = at
        return -1

    def _ends_name(self, at: int) -> bool:
        """Whether nothing of a name can come at this place: an apostrophe is no end."""
        here = self.text[at : at + 1]
        if here in SPACE and here:
            here = self.text[at + 1 : at + 2]
            return here in ("<", "(", "[", "", "\n", ",", ";")
        return here in ("<", "", "\n", "\t", ",", ";", ">")

    def _comment(self) -> bool:
        if self.at < self.hopeless.get("(", 0):
            return False
        depth, at = 0, self.at
        while at < len(self.text) and self.text[at] != "\n":
            here = self.text[at]
            if here == "\\":
                at += 1
            elif here in "()":
                depth += 1 if here == "(" else -1
                if not depth:
                    self._add("comment", re.sub(r"\\(.)", r"\1", self.text[self.at + 1 : at]), at + 1)
                    return True
            at += 1
        self.hopeless["("] = at
        return False

    def _word(self, start: int | None = None) -> None:
        start = self.at if start is None else start
        if link := _LINK.match(self.text, start):
            self._add("word", link[0], link.end())
            return
        end, named = max(self.at, start + 1), False
        while end < len(self.text) and self.text[end] not in _WORD_ENDS:
            named = named or self.text[end] == "@"
            if self.text[end] == ":" and not named:  # the name of a group (RFC 5322, section 3.4), or of a header
                break
            end += 1
        self.at = start
        self._add("word", self.text[start:end], end)
        if self.text[end : end + 1] == ":" and not named:
            self._add("label", ":", end + 1)
