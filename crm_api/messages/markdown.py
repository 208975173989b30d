"""Markdown to the two parts of a letter: HTML, and plain text for those who read that.

Fields (`{{ first_name }}`) pass through untouched: they are taken out before Markdown sees them and put back after,
so a default with quotes survives and a recipient's value is never read as Markdown.
"""

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from shared.fields import BadTemplate, Field, Template

# one private-use character stands for each field; the writer's own are dropped
_FIRST, _LAST = 0xE000, 0xF8FF
_PRIVATE = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_PRIVATE_QUOTED = re.compile(r"%E[EF]%[0-9A-F]{2}%[0-9A-F]{2}")  # the same in a link's address

# raw HTML is shown as text: what a writer pastes can never become markup in somebody's mailbox
_markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "linkify": False}).enable(
    ["table", "strikethrough"]
)


# what takes longest to read: at the limits half a second for a writer who means harm, and a millisecond for others
MOST_CHARACTERS = 64 * 1024
MOST_BRACKETS = 2000


@dataclass(frozen=True)
class Parts:
    text: str
    html: str


def parts_of(source: str) -> Parts:
    """Both parts as templates in the field language. Raises shared.fields.BadTemplate."""
    if len(source) > MOST_CHARACTERS:
        raise BadTemplate(f"Markdown has at most {MOST_CHARACTERS:,} characters.")
    if source.count("[") > MOST_BRACKETS:
        raise BadTemplate(f"There are more than {MOST_BRACKETS:,} links or other brackets in it.")
    fields: list[Field] = []

    def stand_in(part: str | Field) -> str:
        if isinstance(part, str):
            return _PRIVATE.sub("", part)
        fields.append(part)
        return chr(_FIRST + len(fields) - 1)

    hidden = "".join(stand_in(part) for part in Template(source).parts)
    tokens = _markdown.parse(hidden)
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    if _PRIVATE_QUOTED.search(html):
        raise BadTemplate("A field cannot stand in the address of a link.")

    def put_back(text: str) -> str:
        return _PRIVATE.sub(lambda found: _write(fields[ord(found[0]) - _FIRST]), text)

    return Parts(text=put_back(_plain(tokens)), html=put_back(html))


def _write(field: Field) -> str:
    if field.default is None:
        return f"{{{{ {field.name} }}}}"
    quote = "'" if '"' in field.default else '"'
    return f"{{{{ {field.name} | default({quote}{field.default}{quote}) }}}}"


def _plain(tokens: list[Token]) -> str:
    """The letter as one would type it: lists keep their marks, links name their address."""
    lines: list[str] = []
    prefixes: list[str] = []  # what every line of the open blocks begins with
    marker: str | None = None  # the mark of a list item, for its first line only
    counters: list[int | None] = []
    cells: list[str] = []

    def add(text: str) -> None:
        nonlocal marker
        for line in text.split("\n"):
            head = "".join(prefixes)
            if marker is not None:
                head, marker = head[: -len(marker)] + marker, None
            lines.append((head + line).rstrip())

    def gap() -> None:
        if lines and lines[-1] != "" and marker is None:
            lines.append("".join(prefixes).rstrip())

    tight = 0
    for token in tokens:
        match token.type:
            case "bullet_list_open":
                if not counters:
                    gap()
                counters.append(None)
            case "ordered_list_open":
                if not counters:
                    gap()
                counters.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                counters.pop()
            case "list_item_open":
                number = counters[-1]
                marker = "- " if number is None else f"{number}. "
                if number is not None:
                    counters[-1] = number + 1
                prefixes.append(" " * len(marker))
            case "list_item_close":
                prefixes.pop()
                marker = None
            case "blockquote_open":
                gap()
                prefixes.append("> ")
            case "blockquote_close":
                prefixes.pop()
            case "paragraph_open":
                tight = int(token.hidden)
                if not tight:
                    gap()
            case "heading_open" | "table_open":
                gap()
            case "fence" | "code_block":
                gap()
                for line in token.content.rstrip("\n").split("\n"):
                    add("    " + line)
            case "hr":
                gap()
                add("-" * 20)
            case "th_open" | "td_open":
                tight = 2
            case "tr_close":
                add(" | ".join(cells))
                cells.clear()
            case "inline":
                text = _inline(token.children or [])
                if tight == 2:
                    cells.append(text)
                    tight = 0
                else:
                    add(text)
    return "\n".join(lines).strip("\n") + "\n"


def _inline(tokens: list[Token]) -> str:
    out: list[str] = []
    links: list[tuple[str, int]] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                out.append(token.content)
            case "softbreak" | "hardbreak":
                out.append("\n")
            case "image":
                out.append(token.content)
            case "link_open":
                links.append((str(token.attrGet("href") or ""), len(out)))
            case "link_close":
                address, start = links.pop()
                if "".join(out[start:]) not in (address, address.removeprefix("mailto:")):
                    out.append(f" ({address})")
    return "".join(out)
