"""What a person asked of a run; every part gets the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """quick: seconds instead of minutes, to see that it works; its figures mean little and are not published."""

    quick: bool = False
    rounds: int = 3
    databases: tuple[str, ...] = ("sqlite", "postgresql")
