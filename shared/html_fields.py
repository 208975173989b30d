"""Fields in HTML: values are escaped, and their line breaks are seen where the field stands in running text.

Where a value stands decides what a line break in it becomes: <br> in running text, and itself in a tag (an address,
a title), in <pre>, and where there is no markup (<style>, <textarea>, a comment). A comment for Outlook alone, like
<!--[if mso]>, is text to it: only its two ends are tags.
"""

import html
import re
from collections.abc import Mapping
from enum import Enum, auto

from shared.fields import Template, value_of

BREAK = re.compile(r"\r\n|[\r\n\v\f\x85\u2028\u2029]")
_OPENS = re.compile(r"<(?:(?P<comment>!--(?!\[if))|(?P<tag>/?[A-Za-z][^\s/>]*|[!?/]))")
_IN_TAG = re.compile(r"=\s*([\"'])|>")
_NO_MARKUP = {"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"}
_KEEPS_BREAKS = {"pre", "listing"}
# what ends a quoted value, a comment, an element without markup
_ENDS = {end: re.compile(re.escape(end), re.IGNORECASE) for end in ('"', "'", "-->", *(f"</{it}" for it in _NO_MARKUP))}
# text, and whole tags that change nothing about what follows: most of a letter, read in one go. Possessive (++, *+):
# it never goes back, so it takes time by the length of the text
_CHANGES_NOTHING = re.compile(
    rf"""(?:[^<]++
    |<(?!/?(?i:{"|".join(sorted(_NO_MARKUP | _KEEPS_BREAKS))})[\s/>])/?[A-Za-z][^\s/>]*+
     (?:[^>=]++|=\s*+"[^"]*+"|=\s*+'[^']*+'|=(?!\s*+["']))*+>
    )*+""",
    re.VERBOSE,
)


def one_kind_of_break(value: str) -> str:
    r"""The value with \n for each line break, whatever program made it: not all programs know all kinds."""
    return value if value.isprintable() else BREAK.sub("\n", value)


class Place(Enum):
    """Where in HTML something stands."""

    running = auto()  # text that a browser breaks where it likes
    kept = auto()  # <pre>: line breaks are seen as they are
    hidden = auto()  # in a tag, a comment, a style: no markup can stand there


def escaped(value: str, place: Place) -> str:
    """The value as it stands in HTML at this place."""
    value = html.escape(value)
    return BREAK.sub("<br>\n", value) if place is Place.running else value


class HtmlTemplate(Template):
    """A template whose text is HTML. places: where each part begins."""

    __slots__ = ("places",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.places: list[Place] = []
        scanner = _Scanner()
        last = max((at for at, part in enumerate(self.parts) if not isinstance(part, str)), default=-1)
        for at, part in enumerate(self.parts):
            self.places.append(scanner.place)
            if isinstance(part, str) and at < last:  # what comes after the last field is nobody's place
                scanner.feed(part)

    def fill(self, values: Mapping[str, str]) -> str:
        """Every value is escaped. Raises MissingField."""
        return "".join(
            part if isinstance(part, str) else escaped(value_of(part, values), place)
            for part, place in zip(self.parts, self.places, strict=True)
        )


class _Scanner:
    """Follows HTML as far as is needed to know what stands at its end (HTML standard, section 13.2.5)."""

    def __init__(self) -> None:
        self._tag: str | None = None  # we are in this one; with a slash, it closes
        self._ends_with = ""  # what ends the quoted value, comment or element without markup that we are in
        self._pre = 0  # how many open elements keep line breaks as they are

    @property
    def place(self) -> Place:
        if self._tag is not None or self._ends_with:
            return Place.hidden
        return Place.kept if self._pre else Place.running

    def feed(self, text: str) -> None:
        at = 0
        while 0 <= at < len(text):
            if self._ends_with:
                at = self._leave(text, at)
            elif self._tag is not None:
                at = self._inside_tag(text, at)
            else:
                at = self._outside(text, at)

    def _leave(self, text: str, at: int) -> int:
        found = _ENDS[self._ends_with].search(text, at)
        if not found:
            return -1
        if self._ends_with.startswith("</"):
            self._tag = self._ends_with[1:]
        self._ends_with = ""
        return found.end()

    def _inside_tag(self, text: str, at: int) -> int:
        found = _IN_TAG.search(text, at)
        if not found:
            return -1
        if found[1]:
            self._ends_with = found[1]
        else:
            self._close_tag()
        return found.end()

    def _close_tag(self) -> None:
        name, self._tag = self._tag or "", None
        if name in _NO_MARKUP:
            self._ends_with = f"</{name}"
        elif name in _KEEPS_BREAKS:
            self._pre += 1
        elif name[:1] == "/" and name[1:] in _KEEPS_BREAKS and self._pre:
            self._pre -= 1

    def _outside(self, text: str, at: int) -> int:
        passed = _CHANGES_NOTHING.match(text, at)
        found = _OPENS.search(text, passed.end() if passed else at)
        if not found:
            return -1
        if found["comment"]:
            self._ends_with = "-->"
        else:
            self._tag = found["tag"].lower()
        return found.end()
