import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import BadAddress, address_key, clean_address, domain_of
from shared.header_text import BadHeader, one_line


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
        one_line(before + bad + after)
    inside = f"ada{before}{bad}{after}@example.com"
    with pytest.raises(BadAddress):
        clean_address(inside)


def test_the_domain_is_small_and_in_ascii() -> None:
    assert domain_of("Ada@Example.COM") == "example.com"
    assert domain_of("ada@Bücher.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ida@Example.COM", "ida@example.com"),
        ("ida@bücher.example", "ida@xn--bcher-kva.example"),
        ("ida@BÜCHER.example", "IDA@XN--BCHER-KVA.EXAMPLE"),
        ("ida@bu\u0308cher.example", "ida@b\u00fccher.example"),  # NFD, as from a Mac
        ("Ju\u0308rgen@example.com", "j\u00fcrgen@example.com"),
        ("ida@ｅｘａｍｐｌｅ.com", "ida@example.com"),  # full width
        ("ida@example。com", "ida@example.com"),  # an ideographic full stop (UTS 46)
        (" ida@example.com ", "ida@example.com"),
        ("ΝΊΚΟΣ@παράδειγμα.example", "νίκος@xn--hxajbheg2az3al.example"),
    ],
)
def test_one_address_has_one_key(first: str, second: str) -> None:
    assert address_key(first) == address_key(second)
    assert address_key(clean_address(first)) == address_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ida@strasse.example", "ida@straße.example"),  # two domains since IDNA 2008
        ("i.da@example.com", "ida@example.com"),
        ("ida+news@example.com", "ida@example.com"),
        ("jurgen@example.com", "jürgen@example.com"),
    ],
)
def test_two_addresses_have_two(first: str, second: str) -> None:
    assert address_key(first) != address_key(second)


@given(st.one_of(st.text(), st.emails(), st.builds("{}@{}.example".format, st.text(min_size=1), st.text(min_size=1))))
def test_a_key_is_its_own_key(text: str) -> None:
    assert address_key(address_key(text)) == address_key(text)
