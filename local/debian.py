"""Programs from Debian's and Ubuntu's packages, without root and without touching the system.

``unpacked("rabbitmq-server", …)`` downloads a package and what it needs with ``apt-get download``, unpacks
with ``dpkg -x`` into the cache folder and answers where. apt checks the signatures as always. No package
script runs. apt's own lists are used when there are any; else, or when they are too old, a private copy is
fetched into the cache.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from local import hints
from local.cache import cache_dir, locked
from local.environment import without_settings
from local.errors import Unavailable

# apt prints in the user's language and asks questions; neither helps here.
_ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def is_debian() -> bool:
    """Whether this machine has apt and dpkg."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg") and shutil.which("apt-cache"))


def release() -> str:
    """Name for this release and architecture, like ``debian-12-x86_64``."""
    facts = platform.freedesktop_os_release()
    return f"{facts.get('ID', 'debian')}-{facts.get('VERSION_ID', 'testing')}-{platform.machine()}"


def unpacked(
    package: str,
    *,
    own: str,
    without: tuple[str, ...] = (),
    prepare: Callable[[Path, Path], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """The folder where ``package`` lies unpacked, as if it were ``/``.

    Of what it depends on, packages whose name matches the regular expression ``own`` are always included,
    others only if the system lacks them, those in ``without`` never. ``prepare(folder, final)`` may change
    the files before they are used; ``final`` is the path they will have. Raises ``Unavailable``.
    """
    if not is_debian():
        raise Unavailable("this system has no apt-get and dpkg")
    home = cache_dir() / release()
    target = home / package
    try:
        # whoever runs the programs may be another user: PostgreSQL refuses to be root
        with _umask(0o022), locked(home / f"{package}.lock"):
            if target.is_dir():
                return target
            say(f"downloading {package} (once, into {target})")
            building = home / f"{package}.new"
            shutil.rmtree(building, ignore_errors=True)
            (building / "root").mkdir(parents=True)
            _Apt(home / "apt").download(package, re.compile(own), without, building)
            for archive in sorted(building.glob("*.deb")):
                _run(["dpkg", "-x", str(archive), str(building / "root")])
            if prepare is not None:
                prepare(building / "root", target)
            (building / "root").rename(target)
            shutil.rmtree(building)
    except OSError as error:
        raise Unavailable(f"{package} cannot be unpacked into {home}: {error}") from error
    return target


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def library_path(root: Path) -> str:
    """LD_LIBRARY_PATH for programs in an unpacked folder; empty if it holds no libraries."""
    places: list[Path] = []
    for parent in (root / "lib", root / "usr/lib"):
        triplets = sorted(parent.glob("*-linux-gnu*"))
        # Some packages keep a library in a folder of their own, and the system's linker is not told.
        places += [parent, *sorted(set(parent.glob("*/")) - set(triplets))]
        for triplet in triplets:
            places += [triplet, *sorted(triplet.glob("*/"))]
    return ":".join(str(folder) for folder in places if any(folder.glob("lib*.so*")))


class _Apt:
    """apt as an ordinary user, with lists of its own where the system's are missing or stale."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._options: list[str] = ["-o", "APT::Sandbox::User="]

    def download(self, package: str, own: re.Pattern[str], without: tuple[str, ...], into: Path) -> None:
        try:
            self._download(package, own, without, into)
        except Unavailable:
            # No lists at all (a fresh container), or lists that name files the mirror no longer has.
            self._own_lists()
            self._download(package, own, without, into)

    def _own_lists(self) -> None:
        lists, archives = self._home / "lists", self._home / "archives"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        self._options += ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={self._home}"]
        self._options += ["-o", f"Dir::Cache::archives={archives}"]
        _run(["apt-get", *self._options, "-q", "update"])

    def _download(self, package: str, own: re.Pattern[str], without: tuple[str, ...], into: Path) -> None:
        missing = self._would_install(package, [])
        # Asked as if nothing were installed, apt names everything; what is ours is picked from that.
        nothing = into / "empty-status"
        nothing.touch()
        everything = self._would_install(package, ["-o", f"Dir::State::status={nothing}"])
        wanted = {name for name in everything if own.search(name)} | missing | {package}
        _run(["apt-get", *self._options, "-q", "download", *sorted(wanted - set(without))], cwd=into)

    def _would_install(self, package: str, options: list[str]) -> set[str]:
        command = ["apt-get", *self._options, *options, "-s", "--no-install-recommends", "install", package]
        lines = _run(command).splitlines()
        # "Inst name (version …)"; with "[old version]" after the name it is an upgrade, which is not missing.
        return {line.split()[1] for line in lines if line.startswith("Inst ") and line.split()[2][0] == "("}


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=without_settings(os.environ) | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        last = said.splitlines()[-1:] or ["no reason given"]
        how = hints.hint(said)  # the reason may stand before the last line, which only says that it did not work
        raise Unavailable(f"{' '.join(command[:1])} {_verb(command)}failed: {last[0]}" + (f" {how}" if how else ""))
    return done.stdout


def _verb(command: list[str]) -> str:
    return next((f"{word} " for word in command[1:] if word in ("update", "install", "download")), "")
