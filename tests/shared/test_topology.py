"""The one table: every queue is a durable quorum queue that cannot lose what it dead-letters."""

import pytest

from shared import topology
from shared.lanes import Lane


def test_every_queue_is_a_quorum_queue_with_a_limit_that_3_10_and_4_understand() -> None:
    for queue in topology.QUEUES:
        assert queue.arguments["x-queue-type"] == "quorum", queue.name
        assert queue.arguments["x-delivery-limit"] > 0, queue.name


def test_what_dead_letters_does_so_at_least_once() -> None:
    for queue in topology.QUEUES:
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once", queue.name
            assert queue.arguments["x-overflow"] == "reject-publish", queue.name


def test_every_binding_is_to_an_exchange_of_the_table_and_names_differ() -> None:
    exchanges = {exchange.name for exchange in topology.EXCHANGES}
    assert {exchange for queue in topology.QUEUES for exchange, _ in queue.bindings} <= exchanges
    assert len({queue.name for queue in topology.QUEUES}) == len(topology.QUEUES)


def test_a_waiting_letter_comes_back_to_its_lane() -> None:
    for step in topology.WAIT_SECONDS:
        queue = next(queue for queue in topology.QUEUES if queue.name == topology.wait_exchange(step))
        assert queue.arguments["x-dead-letter-exchange"] == topology.COMMANDS
        assert "x-dead-letter-routing-key" not in queue.arguments
    lanes = {key for queue in topology.QUEUES for exchange, key in queue.bindings if exchange == topology.COMMANDS}
    assert lanes == {topology.lane_key(lane) for lane in Lane}


@pytest.mark.parametrize(
    ("seconds", "step"), [(0, "30s"), (30, "30s"), (119, "30s"), (120, "2m"), (5000, "1h"), (90000, "4h")]
)
def test_a_wait_takes_the_longest_step_that_fits(seconds: float, step: str) -> None:
    assert topology.wait_step(seconds) == step
