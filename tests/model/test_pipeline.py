"""Nothing lost, nothing doubled unseen, sums that add up: whatever happens, in whatever order."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.house import Town
from tests.model.machine import Pipeline


def test_no_order_of_events_breaks_a_promise(town: Town) -> None:
    run_state_machine_as_test(
        lambda: Pipeline(town),
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None,
                          suppress_health_check=list(HealthCheck)),
    )
