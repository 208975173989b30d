"""The field language: what it takes, what it refuses, and that filling never opens a hole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fields import BadTemplate, MissingField, Template
from shared.html_fields import HtmlTemplate

names = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
plain = st.text(max_size=30).filter(lambda text: "{" not in text)


def test_fields_are_found_and_filled() -> None:
    template = Template("Dear {{ first_name }}, {{company}} and {{ x | default('you') }}{{ y|default(\"\") }}!")
    assert template.fields == {"first_name", "company", "x", "y"}
    assert template.fill({"first_name": "Ada", "company": "Mills"}) == "Dear Ada, Mills and you!"


@pytest.mark.parametrize("source", ["{{", "{{ a b }}", "{{ a.b }}", "{{ a() }}", "{{ 1 }}", "{{ a | upper }}", "{{ a"])
def test_anything_else_in_braces_is_refused(source: str) -> None:
    with pytest.raises(BadTemplate):
        Template(f"before {source} after")


def test_unknown_and_empty_are_told_apart() -> None:
    with pytest.raises(MissingField, match="no field called a"):
        Template("{{ a }}").fill({})
    with pytest.raises(MissingField, match="field a is empty"):
        Template("{{ a }}").fill({"a": ""})


def test_values_and_defaults_are_escaped_and_the_writers_text_is_not() -> None:
    template = HtmlTemplate("<b>{{ a }}</b>{{ b | default('<i>') }}")
    assert template.fill({"a": "<script>"}) == "<b>&lt;script&gt;</b>&lt;i&gt;"


@given(st.lists(st.tuples(plain, names, st.text(min_size=1)), max_size=5), plain)
def test_filling_is_joining(pieces: list[tuple[str, str, str]], rest: str) -> None:
    values = {name: value for _, name, value in pieces}
    source = "".join(f"{text}{{{{ {name} }}}}" for text, name, _ in pieces) + rest
    expected = "".join(text + values[name] for text, name, _ in pieces) + rest
    assert Template(source).fill(values) == expected


@given(st.text())
def test_no_text_makes_it_fail_otherwise(source: str) -> None:
    try:
        template = Template(source)
    except BadTemplate:
        return
    assert "".join(part if isinstance(part, str) else "" for part in template.parts).count("{{") == 0
