"""Programs from packages, without root and without touching the system."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from local import debian
from local.errors import Unavailable

pytestmark = pytest.mark.skipif(not debian.is_debian(), reason="only where there are apt-get and dpkg")


def unpack(package: str) -> Path:
    try:
        return debian.unpacked(package, own=f"^{package}$")
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTHASTE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_program_is_unpacked_once_and_runs(own_cache: Path) -> None:
    root = unpack("hello")
    assert root.is_relative_to(own_cache)
    said = subprocess.run([root / "usr/bin/hello"], capture_output=True, text=True, check=True).stdout
    assert said == "Hello, world!\n"
    made = (root / "usr/bin/hello").stat().st_ino
    assert (unpack("hello") / "usr/bin/hello").stat().st_ino == made


def test_without_apts_lists_it_fetches_its_own(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a fresh container image, where the lists have been deleted.
    lists = tmp_path / "no-lists"
    (lists / "partial").mkdir(parents=True)
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::State::lists "{lists}";\nDir::Cache "{tmp_path / "apt-cache"}";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    root = unpack("hello")
    assert (root / "usr/bin/hello").is_file()
    assert any((own_cache / debian.release() / "apt" / "lists").iterdir())


def test_a_package_that_does_not_exist() -> None:
    with pytest.raises(Unavailable, match="apt-get"):
        debian.unpacked("no-such-package-anywhere", own="^no-such-package-anywhere$")
