"""Turns at an SQLite file, for the processes that write to it.

SQLite's own waiting is to sleep and ask again, ever longer: under load a writer stands in the cold for a tenth of
a second while the file is free. The kernel's queue for a file lock wakes the next one at once, and lets go of what
a killed process held. Whoever does not take part (a backup, a shell) is still kept out by SQLite itself.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO


class Turns:
    """One process's place in the queue, for one thread at a time."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.turn")
        self._file: IO[str] | None = None

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        if self._file is None:
            self._file = self.path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
