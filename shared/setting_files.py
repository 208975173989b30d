"""NAME_FILE: the file that holds the value of the setting NAME, as secrets are mounted into containers."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 64 * 1024  # of one value; more is another file


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that cannot be had; `sentence` says why, and no value."""

    sentence: str


def from_file(name: str) -> str | Unreadable | None:
    """name: of the variable, without _FILE. None: there is no such variable, or it is empty."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    if os.environ.get(name):
        return Unreadable(f"{name} is given, too. Give one of them.")
    try:
        content = _content(Path(path))
        text = content.decode("utf-8-sig")  # an editor may have put its mark before it
    except OSError as problem:
        return Unreadable(f"{path} cannot be read: {problem.strerror}.")
    except UnicodeDecodeError:
        return Unreadable(f"{path} holds no text (UTF-8).")
    value = text.rstrip("\r\n")
    if len(content) > MAX_BYTES or "\n" in value:
        return Unreadable(f"{path} holds more than one line.")
    if not value.strip():
        return Unreadable(f"{path} is empty.")
    return value


def _content(path: Path) -> bytes:
    if stat.S_ISDIR(path.stat().st_mode):
        raise IsADirectoryError(0, "it is a folder")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
