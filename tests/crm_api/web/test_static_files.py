"""What browsers keep, and what others made: unchanged, with their licences, and nothing from elsewhere."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from crm_api.web.static_files import FOLDER, static, version

VENDORED = {
    # htmx.org 4.0.1
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    # @fontsource-variable/inter 5.3.0
    "fonts/inter-latin-wght-normal.woff2": "3100e775e8616cd2611beecfa23a4263d7037586789b43f035236a2e6fbd4c62",
    "fonts/inter-latin-ext-wght-normal.woff2": "34b9c504cab7a73e37b746343a449132e56cf7b5481af2cb81dc74dcff25c956",
    # @fontsource-variable/source-serif-4 5.3.1
    "fonts/source-serif-4-latin-wght-normal.woff2": "382475f38242c52d42a3e5ff8dc69b5d73f10d0d21e4550b5fe232984688779a",
    "fonts/source-serif-4-latin-wght-italic.woff2": "b4f56ddc9873487f1c9a3ad5bbce31982fe89b951f57e4604f62b4c8a540fb19",
    "fonts/source-serif-4-latin-ext-wght-normal.woff2": (
        "d10ccbbd0dc4ebae2938958dc1f622a53460fe297e9c958564742dd684309c3f"
    ),
    "fonts/source-serif-4-latin-ext-wght-italic.woff2": (
        "14e38c2d6a4ea6effcddde38f0262c03af252cbf82dbc68037f2d6c9112f2097"
    ),
}
AXE = Path(__file__).resolve().parents[2] / "browser" / "vendor" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"  # axe-core 4.14.1


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_as_published(name: str) -> None:
    assert sha256_of(FOLDER / name) == VENDORED[name]


def test_the_vendored_axe_is_as_published() -> None:
    assert sha256_of(AXE) == AXE_SHA256


def test_what_others_made_is_listed_and_has_its_licence() -> None:
    fonts = {path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("fonts/*.woff2")}
    assert fonts == {name for name in VENDORED if name.startswith("fonts/")}
    assert (FOLDER / "htmx.LICENSE.txt").read_text()
    for name in ("inter", "source-serif-4"):
        assert "SIL Open Font License" in (FOLDER / f"fonts/{name}.LICENSE.txt").read_text()


def test_the_style_sheet_names_only_fonts_that_are_here() -> None:
    named = set(re.findall(r'url\("([^"]+)"\)', (FOLDER / "app.css").read_text()))
    assert named == {name for name in VENDORED if name.startswith("fonts/")}


def test_kept_for_ever_under_its_hash(visitor: TestClient) -> None:
    answer = visitor.get(static("app.css"), headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.headers["content-encoding"] == "gzip"
    plain = visitor.get(static("app.css"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content == (FOLDER / "app.css").read_bytes()
    assert len(gzip.compress(plain.content)) < len(plain.content) / 2


def test_an_old_hash_gets_the_newest_and_may_not_keep_it(visitor: TestClient) -> None:
    answer = visitor.get("/static/0000000000000000/app.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert version() != "0000000000000000"


@pytest.mark.parametrize("name", ["nothing.js", "%2e%2e%2ftemplates.py", "fonts", ""])
def test_nothing_else_is_served(visitor: TestClient, name: str) -> None:
    assert visitor.get(f"/static/{version()}/{name}").status_code == 404


def test_a_template_cannot_name_a_file_that_is_not_there() -> None:
    with pytest.raises(LookupError, match=r"nothing\.js"):
        static("nothing.js")
