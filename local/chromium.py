"""Finds a Chromium for the browser tests, or gets one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from local import debian
from local.environment import without_settings
from local.errors import Unavailable

Say = Callable[[str], None]

ADVICE = "No Chromium here and no way to get one by itself: install chromium, or set POSTHASTE_CHROMIUM."
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FIXED = (
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_WRAPPER = """\
#!/bin/sh
# Runs the unpacked Chromium with its own libraries and fonts.
export LD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export FONTCONFIG_FILE="{fonts}"
exec "{root}/usr/lib/chromium/chromium" "$@"
"""
# Without any font the pages have no text, not even for a script that asks for it.
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>{fonts}</dir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""


def find(say: Say = lambda _: None) -> Path:
    """The path of an executable Chromium; raises ``Unavailable`` with advice."""
    chosen = os.environ.get("POSTHASTE_CHROMIUM")
    if chosen and not os.access(chosen, os.X_OK):
        raise Unavailable(f"POSTHASTE_CHROMIUM: there is no program {chosen}")
    if chosen:
        return Path(chosen)
    for path in [*_FIXED, *(shutil.which(name) for name in _NAMES)]:
        # Ubuntu's chromium-browser is a shell script that asks to install a snap.
        if path and Path(path).is_file() and not _asks_for_snap(Path(path)):
            return Path(path)
    for way in (_playwrights_own, _install, _unpack, _install_playwrights_own):
        found = way(say)
        if found is not None:
            return found
    raise Unavailable(ADVICE)


def _playwrights_own(say: Say) -> Path | None:
    """The browser that `playwright install` fetched, if it is there and starts."""
    script = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    asked = _run([sys.executable, "-c", script])
    path = Path(asked.stdout.strip())
    if asked.returncode != 0 or not path.is_file() or _run([str(path), "--version"]).returncode != 0:
        return None
    return path


def _install_playwrights_own(say: Say) -> Path | None:
    """For systems without a Chromium package: macOS, and Ubuntu, where it is a snap."""
    say("downloading Playwright's Chromium")
    # Its libraries come from the system's packages, which only root can install.
    libraries = ["--with-deps"] if debian.is_debian() and os.geteuid() == 0 else []
    _run([sys.executable, "-m", "playwright", "install", *libraries, "chromium"])
    return _playwrights_own(say)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = without_settings(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def make_playwright_start(say: Say = lambda _: None) -> None:
    """Give Playwright's driver, a Node.js, the one library that a bare Debian does not have.

    Changes LD_LIBRARY_PATH of this process, for the driver that it starts later.
    """
    if not debian.is_debian():
        return
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        root = debian.unpacked("libatomic1", own="^libatomic1$", say=say)
        paths = [debian.library_path(root), os.environ.get("LD_LIBRARY_PATH")]
        os.environ["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)


def _asks_for_snap(path: Path) -> bool:
    with path.open("rb") as file:
        return b"snap install" in file.read(4000)


def _install(say: Say) -> Path | None:
    if not debian.is_debian() or os.geteuid() != 0:
        return None
    say("installing chromium with apt-get")
    install = ["apt-get", "-q", "install", "-y", "--no-install-recommends", "chromium", "fonts-liberation"]
    # Lists may be missing or too old: update them when it does not work without.
    for steps in ([install], [["apt-get", "-q", "update"], install]):
        codes = [_run(step).returncode for step in steps]
        if codes[-1] == 0 and Path("/usr/bin/chromium").is_file():
            return Path("/usr/bin/chromium")
    return None


def _unpack(say: Say) -> Path | None:
    try:
        root = debian.unpacked("chromium", own="^chromium(-common)?$", say=say)
        fonts = debian.unpacked("fonts-liberation", own="^fonts-liberation", say=say)
    except Unavailable:
        return None
    if not (root / "usr/lib/chromium/chromium").is_file():
        return None
    wrapper = root / "chromium"
    if not wrapper.exists():
        configuration = root / "fonts.conf"
        configuration.write_text(_FONTS.format(fonts=fonts / "usr/share/fonts", cache=root / "font-cache"))
        text = _WRAPPER.format(libraries=debian.library_path(root), root=root, fonts=configuration)
        temporary = wrapper.with_name(f"chromium.{os.getpid()}.new")
        temporary.write_text(text)
        temporary.chmod(0o755)
        temporary.replace(wrapper)
    return wrapper
