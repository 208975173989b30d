"""The folder for what is downloaded once and used by every checkout."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache_dir() -> Path:
    """``POSTHASTE_CACHE_DIR``, else ``posthaste`` in the user's cache folder (root: in ``/var/cache``).

    Root's own home is closed to the unprivileged user that PostgreSQL insists on, hence the difference.
    """
    chosen = os.environ.get("POSTHASTE_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    if os.geteuid() == 0 and "XDG_CACHE_HOME" not in os.environ:
        return Path("/var/cache/posthaste")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posthaste"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` locked, waiting for another process that does the same work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
