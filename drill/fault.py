"""What a fault is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drill.scene import Scene

Act = Callable[["Scene"], None]
BOTH = ("sqlite", "postgresql")


class Impossible(Exception):
    """This machine cannot make the fault; str() says why."""


@dataclass(frozen=True)
class Fault:
    """strike: runs under load and returns when the fault is over. prepare: before the product is started.

    seconds: how long the load takes. unknowns: how many deliveries may at most be unknown at some time; a letter that
    arrived twice must have been.
    """

    name: str
    title: str
    group: str
    strike: Act
    prepare: Act | None = None
    seconds: float = 3.0
    unknowns: int = 0
    patience: float = 60.0  # seconds for everything to settle afterwards
    settings: Mapping[str, object] = field(default_factory=dict)
    databases: tuple[str, ...] = BOTH
    nodes: int = 1
    tmpfs_megabytes: int = 0  # the data directory is a file system of its own, so small


FAULTS: dict[str, Fault] = {}


def fault(name: str, title: str, **more: object) -> Callable[[Act], Act]:
    """Puts a function into the list; its group is its module's name."""

    def put(strike: Act) -> Act:
        assert name not in FAULTS, name
        group = strike.__module__.rpartition(".")[2]
        FAULTS[name] = Fault(name, title, group, strike, **more)  # type: ignore[arg-type]
        return strike

    return put
