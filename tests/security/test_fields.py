"""The field language and what surrounds it: nothing that a writer writes takes long or grows."""

import tracemalloc
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_api.errors import Invalid, Problem, TooLarge
from crm_api.messages.compose import preview
from crm_api.messages.markdown import MOST_BRACKETS, MOST_CHARACTERS, parts_of
from crm_api.messages.schemas import MessageDraft
from shared.fields import MOST_FIELDS, BadTemplate, FieldError, Template
from tests.support.crm import Crm


@pytest.mark.parametrize(
    "source",
    [
        "{{ 7 * 7 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ first_name.__class__ }}",
        "{{ first_name | upper }}",
        "{% for x in y %}{% endfor %}",
        "{{ config }}{{ config.items() }}",
        "{{ range(10**9) }}",
        "{{ first_name | default(lipsum) }}",
        "{{ first_name",
        "{{{{ first_name }}}}",
        "${7*7}#{7*7}<%= 7*7 %>",
        '{{ first_name | default("{{ last_name }}") }}',
    ],
)
def test_there_is_nothing_to_run(source: str) -> None:
    """Refused, or words like any other; a value is never read as a template again."""
    try:
        filled = Template(source).fill({"first_name": "{{ last_name }}", "last_name": "Byron", "config": "{{ x }}"})
    except FieldError:
        return
    assert "49" not in filled
    assert "Byron" not in filled


def steps(source: str) -> int:
    """Work of reading it: events that the interpreter counts, the same on every machine."""
    import sys

    count = 0

    def note(*_: Any) -> Any:
        nonlocal count
        count += 1
        return note

    sys.setprofile(note)
    try:
        parts_of(source)
    except BadTemplate:
        pass
    finally:
        sys.setprofile(None)
    return count


PIECES = [
    "[",
    "![",
    "[a](",
    "*a ",
    "_",
    "**a ",
    "> ",
    "`a``b",
    "<a ",
    "|a|b\n|-|-\n",
    "~~a ",
    "[a]: b\n",
    "- a\n  - b\n",
    "<!--",
]


@pytest.mark.parametrize("piece", PIECES)
def test_markdown_that_is_made_to_hurt_grows_no_faster_than_it_is_long(piece: str) -> None:
    """Eight times as much text is at most some fourteen times the work; quadratic would be 64."""
    short, long = (piece * (size // len(piece)) for size in (1000, 8000))
    assert steps(long) < 14 * steps(short)


def test_markdown_has_an_end() -> None:
    parts_of("x" * MOST_CHARACTERS)
    with pytest.raises(BadTemplate, match="at most"):
        parts_of("x" * (MOST_CHARACTERS + 1))
    with pytest.raises(BadTemplate, match="brackets"):
        parts_of("[" * (MOST_BRACKETS + 1))


def test_a_template_has_only_so_many_fields() -> None:
    Template("{{ a }} " * MOST_FIELDS)
    with pytest.raises(BadTemplate, match="more than"):
        Template("{{ a }} " * (MOST_FIELDS + 1))


@pytest.mark.parametrize(
    "source", ["{{a", '{{a|default("', "{{a|default('", "{{ ", '{{a|default("x")', "{{a" + " " * 200]
)
def test_what_is_nearly_a_field_is_read_once(source: str) -> None:
    """The pattern goes back at most as far as one of them is long: all of it is refused at the first."""
    with pytest.raises(BadTemplate):
        Template(source * (200_000 // len(source)))


def sent(crm: Crm, **members: Any) -> Problem:
    with pytest.raises(Problem) as refused:
        crm.send(**members)
    return refused.value


def test_a_long_value_used_often_is_refused_before_it_is_made(crm: Crm) -> None:
    """500 uses of 20,000 characters would be ten million, for each recipient."""
    bomb = {"to": [{"email": "ada@example.com", "fields": {"x": "y" * 20_000}}], "text": "{{ x }}" * MOST_FIELDS}
    tracemalloc.start()
    problem = sent(crm, **bomb)
    with crm.database.read() as session:
        draft = MessageDraft.model_validate({"subject": "x", **bomb})
        (shown,) = preview(session, crm.settings, draft)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(problem, Invalid)
    assert problem.errors[0].field == "to[0].fields"
    assert (shown.text, len(shown.problems)) == ("", 1)
    assert most < 5_000_000


def test_what_is_too_large_is_not_even_read(crm: Crm) -> None:
    for field in ("text", "markdown"):
        large = {"text": None, field: "[" * (crm.settings.max_body_bytes + 1)}
        problem = sent(crm, **large)
        assert isinstance(problem, TooLarge)
        assert problem.errors[0].field == field


@pytest.mark.parametrize(
    "fields", [{"x": "y" * 20_001}, {f"x{number}": "y" for number in range(101)}, {"x" * 65: "y"}, {"a.b": "y"}]
)
def test_fields_of_one_recipient(api: TestClient, fields: dict[str, str]) -> None:
    draft = {"to": [{"email": "ada@example.com", "fields": fields}], "subject": "x", "text": "x"}
    assert api.post("/api/v1/messages", json=draft).status_code == 422
