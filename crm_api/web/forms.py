"""Forms that come back as they were typed, with what is wrong at its field.

A form that edits something carries what it showed in hidden fields (`was.<name>`), so that only what the person changed
is written, whatever others did in the meantime. Where both changed the same field it comes back with both values, and
`pick.<name>` says which one stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from crm_api.edits import Change, Clash, same
from crm_api.errors import Invalid
from shared.clock import now
from shared.ids import made_at
from shared.mailboxes import mailboxes

MAX_FIELDS, MAX_BYTES = 60, 20_000  # of one field
_FORMS_LAST = timedelta(days=7)
_WAS, _PICK = "was.", "pick."
THEIRS = "theirs"


async def _typed(request: Request) -> dict[str, str]:
    """The form's texts; files and unknown fields are dropped where they are read."""
    async with request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=MAX_BYTES) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


Typed = Annotated[dict[str, str], Depends(_typed)]


def form_id(text: str) -> UUID | None:
    """The id that a form which adds something carries (`new_id()` in the template): whoever sends it twice, adds once.

    It becomes the row's own, so it has to be one of ours: of a time that has been, and not long ago.
    """
    try:
        found = UUID(text)
        fits = found.version == 7 and now() - _FORMS_LAST < made_at(found) <= now()
    except (ValueError, OverflowError):
        return None
    return found if fits else None


@dataclass(frozen=True)
class Edit:
    """What a person changed. values: field → as typed. seen: what the form showed in them; nothing for a field that
    came without, as from a program."""

    values: dict[str, str]
    seen: dict[str, str]


def edit_of(typed: Mapping[str, str], names: Iterable[str]) -> Edit:
    """Fields that did not come, that were left as they were, or for which theirs was picked, are none of it."""
    values, seen = {}, {}
    for name in names:
        if name not in typed or typed.get(_PICK + name) == THEIRS:
            continue
        was = typed.get(_WAS + name)
        if was is None:
            values[name] = typed[name]
        elif not same(typed[name], was):
            values[name], seen[name] = typed[name], was
    return Edit(values, seen)


SOMEBODY = Change("Somebody")


@dataclass(frozen=True)
class Form:
    """was: what it shows as it is kept; None for a form that adds something. clashes: by field, with who it was."""

    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    was: dict[str, str] | None = None
    clashes: dict[str, tuple[Clash, Change]] = field(default_factory=dict)

    def value(self, name: str) -> str:
        return self.values.get(name, "")

    def error(self, name: str) -> str | None:
        return self.errors.get(name)

    def clash(self, name: str) -> tuple[Clash, Change] | None:
        return self.clashes.get(name)

    @property
    def status(self) -> int:
        return 409 if self.clashes else 422 if self.errors else 200


def form_showing(values: Mapping[str, str]) -> Form:
    """As it is opened: all as it is kept."""
    return Form(dict(values), was=dict(values))


def form_again(typed: Mapping[str, str], names: Iterable[str], problem: Invalid) -> Form:
    """After a mistake: as it was typed, and what it showed before."""
    names = list(names)
    was = {name: typed[_WAS + name] for name in names if _WAS + name in typed}
    return Form({name: typed.get(name, "") for name in names}, errors_of(problem), was or None)


def form_with_clashes(
    typed: Mapping[str, str], kept: Mapping[str, str], clashes: Iterable[Clash], changed: Mapping[str, Change]
) -> Form:
    """After somebody else's change: what they wrote where this person wrote nothing, and both where both did."""
    edit = edit_of(typed, kept)
    return Form(
        dict(kept) | edit.values,
        was=dict(kept),
        clashes={clash.field: (clash, changed.get(clash.field, SOMEBODY)) for clash in clashes},
    )


def errors_of(problem: Invalid) -> dict[str, str]:
    """By field of the form: tags[2] stands at tags."""
    found: dict[str, str] = {}
    for error in problem.errors:
        found.setdefault(error.field.partition("[")[0], error.message)
    return found


def address_of(text: str, field: str = "email") -> tuple[str, str]:
    """(name, address) of what was pasted into a field for one address; the text itself if it holds none.

    Raises Invalid for several.
    """
    found = mailboxes(text)
    if len([entry for entry in found if entry.address]) > 1:
        raise Invalid.field(field, "Write one address here; these are several.")
    if len(found) == 1 and found[0].address:
        return found[0].name, found[0].address
    return "", text
