"""One town for all examples of a test; its clock is the product's clock meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.model.house import Town
from tests.support.databases import Template

_USUAL = {"deadline": None, "suppress_health_check": list(HealthCheck)}
# the same examples every time: what is green stays green until the product changes
settings.register_profile("model", derandomize=True, database=None, max_examples=150, stateful_step_count=40, **_USUAL)
settings.register_profile("long", max_examples=20_000, stateful_step_count=80, **_USUAL)


@pytest.fixture(autouse=True)
def thorough(pytestconfig: pytest.Config) -> Iterator[None]:
    before = settings.default
    if pytestconfig.getoption("--hypothesis-profile") != "long":
        settings.load_profile("model")
    yield
    del before
