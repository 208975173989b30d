"""What the product keeps on the disk is its user's alone: mails, databases, the key of second factors, logs.

New files are, as every process begins with umask 077 (shared/command.py). What an earlier version, a copy or another
program has left open is closed when a process starts, and said.
"""

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.settings import PREFIX, PosthasteSettings, SettingsError

log = logging.getLogger("files")

OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BESIDE = ("", "-wal", "-shm", "-journal", ".turn", ".lock")  # what lies beside an SQLite file
_NAMED = 10  # in one line of the log


def keep_private(settings: PosthasteSettings, *databases: Path | None) -> None:
    """Makes the data directory and closes it and the databases to other users. Raises SettingsError."""
    folder = settings.data_dir
    try:
        (folder / "ready").mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise SettingsError(f"{PREFIX}DATA_DIR: {folder} cannot be used: {problem.strerror}.") from None
    beside = [Path(f"{file}{end}") for file in databases if file for end in _BESIDE]
    closed, open_still = close_to_others([*_inside(folder), *beside])
    if closed:
        log.warning("others on this machine could read these; now they cannot", extra={"paths": _some(closed)})
    if open_still:
        log.warning(
            "others on this machine can read these, and this user may not change that: "
            "give Posthaste a folder of its own (POSTHASTE_DATA_DIR)",
            extra={"paths": _some(open_still)},
        )


def close_to_others(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Those that were open and are closed now, and those that could not be. What is not there is left out."""
    closed, open_still = [], []
    for path in paths:
        try:
            if not _is_open(path):
                continue
            if _is_everybodys(path):
                open_still.append(path)
                continue
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
            closed.append(path)
        except FileNotFoundError:  # a file beside a database comes and goes
            continue
        except OSError:
            open_still.append(path)
    return closed, open_still


def _inside(folder: Path) -> Iterator[Path]:
    """The folder, two storeys of it, and all below what stood open: a closed door need not be looked behind."""
    doors_open = _is_open(folder)
    yield folder
    for path in _entries(folder):
        was_open = doors_open or _is_open(path)
        yield path
        if path.is_dir():
            yield from sorted(path.rglob("*")) if was_open else _entries(path)


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def _is_open(path: Path) -> bool:
    """Links are as open as they always are; what they lead to counts."""
    try:
        return not path.is_symlink() and bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:
        return False


def _is_everybodys(path: Path) -> bool:
    """A folder that was there for all before us: /tmp, a home, the root. To close it would lock others out."""
    if not path.is_dir():
        return False
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() fails for a user that has none)
    return bool(path.stat().st_mode & stat.S_ISVTX) or path.resolve() in (Path("/"), home)


def _some(paths: list[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:_NAMED])
    return shown if len(paths) <= _NAMED else f"{shown} and {len(paths) - _NAMED} more"
