"""Line breaks of values are seen in HTML as they are in text, and a value is never markup."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as some

from crm_api.messages.markdown import parts_of
from shared import html_fields
from shared.html_fields import BREAK, HtmlTemplate, Place, one_kind_of_break

LINES = ["12 Mill Lane", "Upper & Lower", "<b>York</b>"]
SHOWN = "12 Mill Lane<br>\nUpper &amp; Lower<br>\n&lt;b&gt;York&lt;/b&gt;"
BREAKS = ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\v", "\f"]


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    "source",
    [
        "<p>{{ x }}</p>",
        "{{ x }}",
        "<ul><li>To {{ x }}</li></ul>",
        "<table><tr><td>{{ x }}</td></tr></table>",
        '<a href="https://example.com/?a=1&b">{{ x }}</a>',
        "<p title='a > b'>{{ x }}",
        "<pre>kept</pre><p>{{ x }}</p>",
        "<style>p > a { color: red }</style><p>{{ x }}</p>",
        "<!-- a > b --> {{ x }}",
        "<!--[if mso]><p>{{ x }}</p><![endif]-->",
        "1 < 2 and <3 {{ x }}",
        '<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01//EN"><p>{{ x }}</p>',
        "<p data-a=it's>{{ x }}</p>",
    ],
)
def test_a_line_break_in_running_text_is_seen(source: str, line_break: str) -> None:
    value = line_break.join(LINES)
    assert HtmlTemplate(source).fill({"x": value}) == source.replace("{{ x }}", SHOWN)


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    "source",
    [
        '<a href="https://example.com/{{ x }}">',
        "<a href='{{ x }}'>",
        "<a href={{ x }}>",
        '<img alt = "{{ x }}">',
        '<p title="{{ y }}, {{ x }}">',
        "<pre>{{ x }}</pre>",
        "<PRE class=a><b>{{ x }}</b></PRE>",
        "<style>/* {{ x }} */</style>",
        "<textarea>{{ x }}</textarea>",
        "<TITLE>{{ x }}</TITLE>",
        "<!-- {{ x }} -->",
    ],
)
def test_where_no_markup_can_stand_there_is_none(source: str, line_break: str) -> None:
    value = line_break.join(LINES)
    filled = HtmlTemplate(source).fill({"x": value, "y": "y"})
    assert "<br>" not in filled
    assert "<b>York" not in filled
    assert line_break in filled


@pytest.mark.parametrize(
    "markdown",
    [
        "{{ x }}",
        "- {{ x }}",
        "> {{ x }}",
        "# {{ x }}",
        "a | b\n--|--\n{{ x }} | c",
        "**{{ x }}**",
        "[{{ x }}](https://a.example)",
    ],
)
def test_in_markdown_everywhere(markdown: str) -> None:
    page = HtmlTemplate(parts_of(markdown).html)
    assert SHOWN in page.fill({"x": "\r\n".join(LINES)})


def test_markdowns_code_keeps_them_as_they_are() -> None:
    page = HtmlTemplate(parts_of("```\n{{ x }}\n```").html)
    assert page.fill({"x": "a\nb"}) == "<pre><code>a\nb\n</code></pre>\n"


def test_defaults_are_values_too() -> None:
    assert HtmlTemplate("<p>{{ x | default('a & b') }}</p>").fill({}) == "<p>a &amp; b</p>"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


@given(some.text(), some.sampled_from(["<p>{{ x }}</p>", '<p title="{{ x }}">y</p>', "<p title='{{ x }}'>y</p>"]))
def test_no_value_brings_a_tag_but_its_line_breaks(value: str, source: str) -> None:
    reader = _Reader()
    reader.feed(HtmlTemplate(source).fill({"x": value or "z"}))
    reader.close()
    breaks = len(BREAK.findall(value)) if "title" not in source else 0
    assert reader.tags == ["p"] + ["br"] * breaks


@given(some.lists(some.sampled_from(["<", ">", "!--", "-->", "=", '"', "'", "pre", "/", " ", "a", "style", "{{ x }}"])))
def test_any_html_can_be_followed_in_one_pass(pieces: list[str]) -> None:
    template = HtmlTemplate("".join(pieces))
    assert len(template.places) == len(template.parts)
    assert set(template.places) <= set(Place)


TAGS = [
    "<p>",
    "</p>",
    '<a href="',
    "<a b=c>",
    "<pre>",
    "</PRE>",
    "<prefix/>",
    "<style>",
    "</style",
    "<!--",
    "-->",
    "<!",
]
SIGNS = ["<", ">", "=", '"', "'", "/", " ", "\n", "a", "</style=", "\u017fcript>", "{{ x }}"]


@given(some.lists(some.sampled_from(TAGS + SIGNS)))
def test_what_is_passed_over_at_once_changes_nothing(pieces: list[str]) -> None:
    source = "".join(pieces) + "{{ x }}"
    quickly = HtmlTemplate(source).places
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_fields, "_CHANGES_NOTHING", re.compile(""))
        assert HtmlTemplate(source).places == quickly


def test_in_plain_text_all_kinds_become_one() -> None:
    assert one_kind_of_break("a\r\nb\rc\u2028d\x85e\nf") == "a\nb\nc\nd\ne\nf"
