"""One fault's stage: the running product, what it stands on, and what a fault needs to strike at the right moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from drill.broker import Broker
from drill.databases import Databases, Stores
from drill.load import Load
from drill.sink import Rule, Sink, Talk
from drill.sockets import has_read, owner
from local.leash_wrapper import descendants
from local.product import COMMANDS, Product

T = TypeVar("T")
SERVICE = Path(__file__).with_name("service.py")
PARTS = ("web", "dispatch", "mailroom")


class Missed(Exception):
    """What a fault waited for did not come."""


def until(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Asks fifty times a second; raises Missed."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Missed(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)
    return answer


class Kept(Product):
    """Each part under a service manager (service.py) that starts it again when it dies.

    under: a command before each part's own, which runs it: env, with what only the part shall see.
    """

    logs: Path
    under: tuple[str, ...] = ()

    def command(self, name: str) -> list[str]:
        python = COMMANDS[name][0]
        return [python, "-S", str(SERVICE), str(self.lives_file(name)), *self.under, *COMMANDS[name]]

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def lives_file(self, name: str) -> Path:
        return self.logs / f"{name}.lives"

    def lives(self, name: str) -> list[tuple[int, int | None]]:
        """(pid, exit code or None) of each life so far."""
        found: dict[int, int | None] = {}
        for line in self.lives_file(name).read_text().splitlines():
            word, pid, *code = line.split()
            found[int(pid)] = int(code[0]) if word == "ended" else None
        return list(found.items())

    def pid(self, name: str) -> int:
        """Of the part itself; the mail room's is its supervisor's."""
        return until(lambda: next((pid for pid, code in self.lives(name) if code is None), 0), f"{name} to live")

    def workers(self) -> list[int]:
        return sorted(descendants(self.pid("mailroom")))


@dataclass
class Scene:
    """failing: addresses whose letters the fault makes fail. strangers: dead letters that are no delivery's."""

    product: Kept
    stores: Stores
    databases: Databases
    broker: Broker
    sink: Sink
    load: Load
    rng: random.Random
    seed: str
    folder: Path
    failing: set[str] = field(default_factory=set)
    strangers: int = 0
    complaints: list[str] = field(default_factory=list)
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def until(self, condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
        return until(condition, what, seconds)

    def chosen(self, share: float) -> Callable[[str], bool]:
        """Whether a recipient is one of that share: by the seed, not by who comes first."""
        return lambda recipient: zlib.crc32(f"{self.seed} {recipient}".encode()) % 1000 < share * 1000

    def require(self, fact: bool, otherwise: str) -> None:
        if not fact:
            self.complaints.append(otherwise)

    def attempts(self, key: str) -> list[str]:
        """What came of each attempt at a delivery, as the CRM knows it."""
        return [kind for found, kind in self.every_attempt() if found == key]

    def unknowns(self) -> int:
        """How many attempts have come to nothing that anybody knows, so far."""
        return int(self.stores.crm("SELECT count(*) FROM attempt WHERE kind = 'unknown'")[0][0])

    def every_attempt(self) -> list[tuple[str, str]]:
        rows = self.stores.crm("SELECT delivery_id, generation, kind FROM attempt ORDER BY attempt")
        return [(f"{uuid(delivery)}.{generation}", kind) for delivery, generation, kind in rows]

    def ledger_state(self, key: str) -> str:
        rows = self.stores.ledger(f"SELECT state FROM attempt WHERE key = '{key}'")  # noqa: S608 (a key of ours)
        return str(rows[0][0]) if rows else ""

    # ---- striking ------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """kill -9 of web, dispatch or the mail room's supervisor alone."""
        os.kill(self.product.pid(name), signal.SIGKILL)

    @staticmethod
    def enter(context: contextlib.AbstractContextManager[object]) -> None:
        """For a context that one hook enters and the next one leaves."""
        context.__enter__()

    @staticmethod
    def kill_worker_of(talk: Talk) -> None:
        os.kill(owner(talk.port), signal.SIGKILL)

    def when(self, phase: str, strike: Callable[[Talk], None], *, after: bool = False) -> Rule:
        """Strikes once, at some mail from now on, before or after the sink's reply; returns when it has."""
        rule = self.sink.on(
            phase,
            before=None if after else strike,
            after=strike if after else None,
            skip=0 if phase == "ehlo" else self.rng.randrange(5),
        )
        self.until(rule.done.is_set, f"a mail at {phase}", 40)
        return rule

    def until_read(self, talk: Talk) -> None:
        """The client's process has taken the reply off its socket."""
        self.until(lambda: has_read(talk.port), "the reply to be read", 10)


def uuid(value: object) -> str:
    """SQLite keeps 32 hex digits, PostgreSQL gives UUIDs."""
    text = str(value)
    return text if "-" in text else "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
