"""What may stand in a customer's fields: cleaned, or refused with a sentence for each that is wrong."""

import re
from collections.abc import Iterable, Mapping

from crm_api.customers.words import same_look
from crm_api.errors import FieldProblem, Invalid
from shared.addresses import BadAddress, clean_address
from shared.header_text import BadHeader, one_line

# field → its greatest length, in the order of the forms
CUSTOMER_FIELDS = {
    "first_name": 100,
    "last_name": 100,
    "company": 200,
    "email": 254,
    "phone": 60,
    "address": 500,
    "language": 60,
}
CONTACT_FIELDS = {"first_name": 100, "last_name": 100, "role": 100, "email": 254, "phone": 60}
MAX_TAGS, MAX_TAG, MAX_NOTE, MAX_CONTACTS = 50, 50, 20_000, 200

_BREAKS = re.compile(r"[ \t]*[\r\n\x0b\x0c\x85\u2028\u2029]+[ \t]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")  # in a text of several lines


def clean(values: Mapping[str, str], limits: Mapping[str, int]) -> dict[str, str]:
    """Stripped, single-line texts of the given fields; raises Invalid that names every field that is wrong."""
    cleaned: dict[str, str] = {}
    problems: list[FieldProblem] = []
    for name, value in values.items():
        try:
            cleaned[name] = _field(name, value, limits[name])
        except (BadAddress, BadHeader) as problem:
            problems.append(FieldProblem(name, str(problem)))
    if problems:
        raise Invalid(problems[0].message, *problems)
    return cleaned


def _field(name: str, value: str, limit: int) -> str:
    # an address on an envelope has lines; in a letter's text it is one
    text = one_line(_BREAKS.sub(", " if name == "address" else " ", value.strip()))
    if name == "email" and text:
        return clean_address(text)
    if len(text) > limit:
        raise BadAddress(f"Write at most {limit} characters; these are {len(text):,}.")
    return text


def need_one(values: Mapping[str, str], *names: str) -> None:
    """Raises Invalid at the first of the fields if all are empty."""
    if not any(values[name] for name in names):
        raise Invalid.field(names[0], "Write a name, a company or an email address, so that people can tell who it is.")


def clean_tags(tags: Iterable[str]) -> list[str]:
    """In small letters, one for all that look the same, in the given order."""
    cleaned: dict[str, None] = {}
    for position, tag in enumerate(tags):
        try:
            name = same_look(one_line(_BREAKS.sub(" ", tag)))
        except BadHeader as problem:
            raise Invalid.field(f"tags[{position}]", str(problem)) from problem
        if "," in name:
            raise Invalid.field(f"tags[{position}]", "A tag has no commas.")
        if len(name) > MAX_TAG:
            raise Invalid.field(f"tags[{position}]", f"A tag has at most {MAX_TAG} characters.")
        if name:
            cleaned[name] = None
    if len(cleaned) > MAX_TAGS:
        raise Invalid.field("tags", f"A customer has at most {MAX_TAGS} tags.")
    return list(cleaned)


def clean_note(text: str) -> str:
    note = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not note:
        raise Invalid.field("text", "Write what is worth knowing next time.")
    if _CONTROL.search(note):
        raise Invalid.field("text", "Control characters cannot stand here.")
    if len(note) > MAX_NOTE:
        raise Invalid.field("text", f"A note has at most {MAX_NOTE:,} characters; these are {len(note):,}.")
    return note
