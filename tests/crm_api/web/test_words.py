"""Times, figures and names as people read them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from starlette.requests import Request

from crm_api.web import words
from shared.clock import now

TODAY = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)  # a Tuesday


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    words.use_zone(ZoneInfo("UTC"))
    yield
    words.use_zone(None)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2026, 11, 24, 14, 2, tzinfo=UTC), "14:02"),
        (datetime(2026, 11, 24, 0, 0, tzinfo=UTC), "00:00"),
        (datetime(2026, 11, 23, 16, 20, tzinfo=UTC), "Mon 16:20"),
        (datetime(2026, 11, 26, 8, 0, tzinfo=UTC), "Thu 08:00"),
        (datetime(2026, 11, 17, 8, 0, tzinfo=UTC), "17 Nov"),
        (datetime(2026, 11, 3, 10, 12, tzinfo=UTC), "3 Nov"),
        (datetime(2025, 11, 3, 10, 12, tzinfo=UTC), "3 Nov 2025"),
    ],
)
def test_said(at: datetime, said: str) -> None:
    assert words.said(at, TODAY) == said


def test_in_the_readers_zone() -> None:
    words.use_zone(ZoneInfo("Asia/Tokyo"))
    assert words.said(datetime(2026, 11, 24, 14, 2, tzinfo=UTC), TODAY) == "23:02"
    assert words.said(datetime(2026, 11, 24, 15, 2, tzinfo=UTC), TODAY) == "Wed 00:02"
    assert words.from_local(datetime(2026, 11, 25, 0, 2)) == datetime(2026, 11, 24, 15, 2, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "\x00", "a" * 5000, ""])
def test_a_zone_that_is_none_is_the_servers(name: str) -> None:
    header = [(b"cookie", f"timezone={name}".encode("latin-1"))]
    assert words.zone_of(Request({"type": "http", "headers": header})) is None


def test_a_time_element_says_it_in_full() -> None:
    at = now() - timedelta(days=400)
    found = words.when(at, clock=True)
    assert f'datetime="{at.isoformat(timespec="milliseconds")}"' in found
    assert f"{at:%A} {at.day} {at:%B %Y}, {at:%H:%M:%S}" in found
    assert f">{at.day} {at:%b %Y}, {at:%H:%M}</time>" in found
    assert words.when(None) == ""


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (842_400, "842 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_266_420, "1.3 MB"),
    ],
)
def test_size(count: int, said: str) -> None:
    assert words.size(count) == said


def test_figures_are_never_cut_short() -> None:
    assert words.number(251_940) == "251,940"
    assert words.plural(1, "letter") == "1 letter"
    assert words.plural(2_418, "letter") == "2,418 letters"


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Marta Lindqvist", "ML"),
        ("Piet van der Berg", "PB"),
        ("Madonna", "M"),
        ("山田 花子", "山花"),
        ("", "?"),
        ("@", "@"),
        ("ida@example.com", "I"),
    ],
)
def test_initials(name: str, letters: str) -> None:
    assert words.initials(name) == letters


def test_listed() -> None:
    assert words.listed([]) == ""
    assert words.listed(["Ida"]) == "Ida"
    assert words.listed(["Ida", "Tom", "Rut"]) == "Ida, Tom and Rut"
    assert words.listed(["Ida", "Tom", "Rut"], 1_207) == "Ida, Tom, Rut and 1,204 more"
