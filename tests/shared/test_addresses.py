import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import BadAddress, BadHeader, check_header, clean_address, domain_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.Byron@EXAMPLE.com ", "Ada.Byron@example.com"),
        ("smtp-550@example.com", "smtp-550@example.com"),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
    ],
)
def test_an_address_is_cleaned(text: str, address: str) -> None:
    assert clean_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "ada", "@example.com", "ada@", "a b@example.com", "ada@example", "a@b@c.example", "a" * 300 + "@e.example"],
)
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        clean_address(text)
    assert len(str(caught.value)) > 10


@given(st.text(), st.sampled_from("\r\n\0"), st.text())
def test_nothing_that_breaks_a_header_passes(before: str, bad: str, after: str) -> None:
    with pytest.raises(BadHeader):
        check_header(before + bad + after)
    inside = f"ada{before}{bad}{after}@example.com"
    with pytest.raises(BadAddress):
        clean_address(inside)


def test_the_domain_is_lower_case() -> None:
    assert domain_of("Ada@Example.COM") == "example.com"
