import pytest

from crm_api.messages.markdown import parts_of
from shared.fields import BadTemplate, Template


def test_both_parts_are_made_and_keep_the_fields() -> None:
    parts = parts_of(
        'Dear {{ first_name }},\n\nsee [the plan](https://example.com/plan) for **{{ company|default("you") }}**.'
    )
    assert parts.text == (
        'Dear {{ first_name }},\n\nsee the plan (https://example.com/plan) for {{ company | default("you") }}.\n'
    )
    assert parts.html == (
        "<p>Dear {{ first_name }},</p>\n"
        '<p>see <a href="https://example.com/plan">the plan</a> for '
        '<strong>{{ company | default("you") }}</strong>.</p>\n'
    )


def test_raw_html_is_shown_and_never_markup() -> None:
    assert "<script>" not in parts_of("<script>alert(1)</script>").html
    assert "<b>" not in parts_of("a <b>bold</b> word").html


def test_a_dangerous_link_is_no_link() -> None:
    assert "<a " not in parts_of("[click](javascript:alert(1))").html


def test_a_value_is_never_read_as_markdown() -> None:
    parts = parts_of("Hello {{ first_name }}")
    assert Template(parts.html).fill({"first_name": "**bold**"}) == "<p>Hello **bold**</p>\n"


def test_a_default_with_quotes_survives_html() -> None:
    parts = parts_of("""Hello {{ company | default("it's <you>") }}""")
    assert Template(parts.text).fill({}) == "Hello it's <you>\n"


def test_a_field_in_a_links_address_is_refused() -> None:
    with pytest.raises(BadTemplate, match="address of a link"):
        parts_of("[here](https://example.com/?q={{ first_name }})")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("# Big\n\nwords", "Big\n\nwords\n"),
        ("- one\n- two\n  - inner", "- one\n- two\n  - inner\n"),
        ("3. three\n4. four", "3. three\n4. four\n"),
        ("> said\n> so", "> said\n> so\n"),
        ("```\na  b\n```", "    a  b\n"),
        ("a\n\n---\n\nb", f"a\n\n{'-' * 20}\n\nb\n"),
        ("<https://example.com>", "https://example.com\n"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a | b\n1 | 2\n"),
        ("one\ntwo", "one\ntwo\n"),
    ],
)
def test_plain_text_reads_as_one_would_type_it(source: str, text: str) -> None:
    assert parts_of(source).text == text
