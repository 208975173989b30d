"""Nothing lost, nothing doubled unseen, sums that add up: whatever happens, in whatever order.

`pytest tests/model --hypothesis-profile=long` looks for hours, elsewhere each time.
"""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from tests.model.effort import effort
from tests.model.house import Town
from tests.model.machine import Pipeline


def test_no_order_of_events_breaks_a_promise(town: Town) -> None:
    run_state_machine_as_test(lambda: Pipeline(town), settings=effort(60))  # type: ignore[arg-type]
