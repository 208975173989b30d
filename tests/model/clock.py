"""Simulated time, and the modules that are made to look at it."""

from __future__ import annotations

import datetime as dates
import itertools
import sys
import time
from datetime import UTC, datetime, timedelta
from types import ModuleType
from uuid import UUID

import pytest

import crm_api.outbox.relay
import email_service.worker  # noqa: F401 (all of the mail room is there when its clock is changed)
import shared.clock
import shared.ids

_BEGIN = datetime(2026, 11, 21, 8, tzinfo=UTC)


class Clock:
    """Stands for the modules `time` and for `datetime.datetime`, as far as the product uses them."""

    fromtimestamp = staticmethod(datetime.fromtimestamp)

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ids = itertools.count(1)

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]

    def monotonic(self) -> float:
        return 1000 + self.seconds

    perf_counter = monotonic

    def time(self) -> float:
        return _BEGIN.timestamp() + self.seconds

    def now(self, _: dates.tzinfo | None = None) -> datetime:
        return _BEGIN + timedelta(seconds=self.seconds)

    def random(self) -> float:
        return 0.5

    def new_id(self) -> UUID:
        """Ids in order, the same in every run, that hold their time."""
        return UUID(int=int(self.time() * 1000) << 80 | 0x7000_8000 << 48 | next(self._ids))

    def rule(self, patch: pytest.MonkeyPatch) -> None:
        """From here on the product's clock is this one."""
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and name.startswith(("crm_api.", "email_service.")):
                for word, real, ours in (
                    ("now", shared.clock.now, self.now),
                    ("new_id", shared.ids.new_id, self.new_id),
                ):
                    if getattr(module, word, None) is real:
                        patch.setattr(module, word, ours)
        transports = (f"transports.{each}" for each in ("addresses", "connection", "session", "smtp", "talk"))
        for name in ("refusals", "send", "ledger", "consumer", *transports):
            module = sys.modules[f"email_service.{name}"]
            for word, genuine in (("time", time), ("datetime", datetime)):
                if getattr(module, word, None) is genuine:
                    patch.setattr(module, word, self)
        patch.setattr(sys.modules["email_service.send"], "_random", self)
        patch.setattr(crm_api.outbox.relay, "time", self)
