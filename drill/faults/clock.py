"""The clock of all our processes jumps an hour, forth and back (libfaketime), the broker's does not."""

from __future__ import annotations

import time
from pathlib import Path

from drill.fault import Impossible, fault
from drill.scene import Scene
from local import debian
from local.errors import Unavailable

SLEEP = Path(__file__).parents[1] / "sleep"
_INSTALLED = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def _library() -> Path:
    for path in map(Path, _INSTALLED):
        if path.exists():
            return path
    try:
        root = debian.unpacked("libfaketime", own=r"^libfaketime$")
    except Unavailable as problem:
        raise Impossible(f"no libfaketime: {problem}") from problem
    return next(root.glob("usr/lib/*/faketime/libfaketimeMT.so.1"))


def _prepare(scene: Scene) -> None:
    file = scene.folder / "clock"
    file.write_text("+0")
    told = {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": file,
        "FAKETIME_CACHE_DURATION": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        "DONT_FAKE_MONOTONIC": 1,
        "PYTHONPATH": SLEEP,
    }
    scene.product.under = ("env", *(f"{name}={value}" for name, value in told.items()))


@fault("clock", "the clock one hour forth, back, and an hour back", prepare=_prepare, seconds=14, patience=240)
def clock(scene: Scene) -> None:
    """Patience: under libfaketime a process waits for seconds where it would for milliseconds, more so when busy."""
    file = scene.folder / "clock"
    for offset in ("+3600", "+0", "-3600", "+0"):
        file.write_text(offset)
        time.sleep(scene.rng.uniform(2, 4))
