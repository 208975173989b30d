"""The field language: `{{ first_name }}` and `{{ company | default("you") }}` in a subject or body.

A template is parsed once and filled many times; filling is one join. It has no loops, no attributes and no
code, so a writer can do no harm with it, and a missing value is an error and never a hole in a letter.
See docs/decisions/0002-field-language.md.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_FIELD = re.compile(
    r"""\{\{\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*
        (?:\|\s*default\(\s*(?:"(?P<double>[^"\r\n]*)"|'(?P<single>[^'\r\n]*)')\s*\)\s*)?\}\}""",
    re.VERBOSE,
)
MOST_FIELDS = 500  # in one template: a thousand recipients are checked while others wait


class FieldError(ValueError):
    """Base of what can go wrong with fields; str() is for a person."""


class BadTemplate(FieldError):
    """A pair of braces holds no field."""


class MissingField(FieldError):
    """A field without a default is unknown or empty for this recipient."""

    def __init__(self, name: str, known: bool) -> None:
        self.name, self.known = name, known
        super().__init__(f"The field {name} is empty." if known else f"There is no field called {name}.")


SECRET = "secret_"  # noqa: S105 (how such a field's name begins)
NOT_SHOWN = "[not shown here]"
SHORTEST_SECRET = 4  # characters: what is shorter stands in anybody's words by chance
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


def shown(values: Mapping[str, str]) -> dict[str, str]:
    """A recipient's values as others may see them: what a field like `secret_link` holds is for the recipient only."""
    return {name: NOT_SHOWN if name.startswith(SECRET) and value else value for name, value in values.items()}


def secret_words(values: Mapping[str, str]) -> list[str]:
    """What must not be repeated of a letter with these values: those of secret fields, and the token within a link."""
    secret = {value for name, value in values.items() if name.startswith(SECRET) and len(value) >= SHORTEST_SECRET}
    tokens = {token for value in secret for token in _TOKEN.findall(value)}
    return sorted(secret | tokens, key=len, reverse=True)


def without(words: Iterable[str], text: str) -> str:
    for word in words:
        text = text.replace(word, NOT_SHOWN)
    return text


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    default: str | None = None


class Template:
    """Text with fields in it. Raises BadTemplate for `{{` that opens no field, and for too many of them."""

    __slots__ = ("fields", "parts", "source", "uses")

    def __init__(self, source: str) -> None:
        self.source = source
        self.parts: list[str | Field] = []
        end = 0
        for found in _FIELD.finditer(source):
            self._add_text(source[end : found.start()])
            default = found["double"] if found["double"] is not None else found["single"]
            self.parts.append(Field(found["name"], default))
            end = found.end()
        self._add_text(source[end:])
        if len(self.parts) > 2 * MOST_FIELDS + 1:
            raise BadTemplate(f"There are more than {MOST_FIELDS} fields in it.")
        self.uses = Counter(part.name for part in self.parts if isinstance(part, Field))  # name → how often
        self.fields = set(self.uses)

    def _add_text(self, text: str) -> None:
        if (at := text.find("{{")) >= 0:
            raise BadTemplate(
                f"“{text[at : at + 30]}” is no field. Write it like {{{{ first_name }}}} or "
                '{{ company | default("your company") }}.'
            )
        if text:
            self.parts.append(text)

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every field replaced. Raises MissingField. Of HTML: shared.html_fields."""
        return "".join(part if isinstance(part, str) else value_of(part, values) for part in self.parts)


def value_of(field: Field, values: Mapping[str, str]) -> str:
    """The recipient's value, else the writer's default; raises MissingField."""
    if value := values.get(field.name):
        return value
    if field.default is not None:
        return field.default
    raise MissingField(field.name, known=field.name in values)
