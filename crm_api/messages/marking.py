"""A letter as its writer sees it before it leaves: each merged word is a <mark>, one that is missing is so by name."""

from markupsafe import Markup, escape

from shared.fields import Field, FieldError, Template, value_of
from shared.html_fields import HtmlTemplate, Place, escaped


def marked_line(template: Template, values: dict[str, str]) -> Markup:
    """The filled subject."""
    return Markup("").join(
        part if isinstance(part, str) else _field(part, values, Place.kept) for part in template.parts
    )


def marked_page(template: HtmlTemplate, values: dict[str, str]) -> Markup:
    """The filled body, whose own text is HTML that may be shown."""
    return Markup("").join(
        Markup(part) if isinstance(part, str) else _field(part, values, place)  # noqa: S704 (Markdown's own HTML)
        for part, place in zip(template.parts, template.places, strict=True)
    )


def _field(field: Field, values: dict[str, str], place: Place) -> Markup:
    try:
        said, look = Markup(escaped(value_of(field, values), place)), Markup("<mark>{}</mark>")  # noqa: S704 (escaped)
    except FieldError:
        said, look = escape(field.name), Markup('<mark class="is-failed">{}</mark>')
    return said if place is Place.hidden else look.format(said)
