"""Every route, with what nobody should send: refused or taken, but never a defect of ours (no 5xx, no traceback).

`make test` tries some with a fixed seed; `make test-long` others each time, for ten minutes on each database. What it
finds is told as the bytes that were sent: they make a case in tests/security/test_odd_requests.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_api.db import Database
from crm_api.settings import CrmSettings
from tests.fuzz.target import Target, target
from tests.support.stack import stack

CASES = 800
NOWHERE = "amqp://nobody:nothing@127.0.0.1:1/"


@pytest.fixture
def fuzzed(tmp_path: Path, database_url: str) -> Iterator[Target]:
    settings = CrmSettings(data_dir=tmp_path / "data", database_url=database_url)
    with stack(tmp_path / "data", database_url, NOWHERE, sends_per_minute=0) as house:
        database = Database(settings.database)
        made = target(house, settings, database)
        house.start("web")
        yield made
        database.close()


def judged(fuzzed: Target) -> None:
    assert fuzzed.found == [], "\n".join(fuzzed.found)
    assert "Traceback" not in (log := fuzzed.house.log("web")), log[log.index("Traceback") - 500 :][:6000]
    assert fuzzed.house.ready("web")


def test_no_route_fails_by_what_is_sent(fuzzed: Target) -> None:
    fuzzed.look_for(CASES, random.Random(20261127))
    judged(fuzzed)
    assert fuzzed.asked == CASES


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as it was asked for
def test_no_route_fails_however_long_it_is_tried(fuzzed: Target, pytestconfig: pytest.Config) -> None:
    seed = random.randrange(2**32)
    dice, end = random.Random(seed), time.monotonic() + 60 * pytestconfig.getoption("minutes")
    while time.monotonic() < end and not fuzzed.found:
        fuzzed.look_for(100, dice)
    print(f"seed {seed}: {fuzzed.asked:,} requests")
    judged(fuzzed)
