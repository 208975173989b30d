"""The ten worst faults of the drill, on SQLite, with a short load each; and that the checker would see harm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from drill import faults as _all_faults
from drill.checker import Result
from drill.fault import FAULTS, Act, Fault
from drill.house import House
from drill.scene import Scene
from drill.sink import Answer, Talk
from local.errors import Unavailable

assert _all_faults
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc says whom to kill")
SEED, MESSAGES, SECONDS = "in short", 60, 1.5
WORST = (
    *("web-killed", "dispatch-after-confirm", "dispatch-applying", "supervisor-killed", "term-in-flight"),
    *("worker-before-dot", "worker-before-ledger", "worker-before-ack", "broker-killed", "events-thrice"),
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[House]:
    try:
        house = House(tmp_path_factory.mktemp("drill"), "sqlite", say).__enter__()
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield house
    house.__exit__()


@pytest.mark.parametrize("name", WORST)
def test_nothing_is_lost_and_nothing_doubled_unseen(house: House, name: str) -> None:
    result = house.run(replace(FAULTS[name], seconds=SECONDS), SEED, MESSAGES)
    assert not result.complaints
    assert not result.impossible
    assert result.messages == MESSAGES
    assert result.lost == 0


def _with(strike: Act) -> Fault:
    return Fault("harm", "harm", "test", strike, seconds=SECONDS, patience=20)


def _one(result: Result, words: str) -> None:
    assert len(result.complaints) == 1
    assert words in result.complaints[0]


def test_a_lost_letter_would_be_seen(house: House) -> None:
    def lose(scene: Scene) -> None:
        """A server that says it has taken a letter, and has not."""
        scene.sink.on("dot", Answer("250 2.0.0 Ok", take=False))

    result = house.run(_with(lose), SEED, MESSAGES)
    _one(result, "accepted, but the server does not have it")
    assert result.lost == 1


def test_a_doubled_letter_would_be_seen(house: House) -> None:
    def double(scene: Scene) -> None:
        def twice(talk: Talk) -> None:
            scene.sink.taken[talk.key] += 1

        scene.sink.on("dot", before=twice)

    result = house.run(_with(double), SEED, MESSAGES)
    _one(result, "doubled unseen")
    assert result.doubled == 1


def test_a_letter_that_fails_for_no_reason_would_be_seen(house: House) -> None:
    result = house.run(_with(lambda scene: _refuse(scene)), SEED, MESSAGES)
    _one(result, "failed without a reason")


def test_a_fault_that_does_not_strike_would_be_seen(house: House) -> None:
    def miss(scene: Scene) -> None:
        def strike(talk: Talk) -> None:
            raise LookupError("nobody to strike")

        scene.when("ehlo", strike)

    result = house.run(_with(miss), SEED, MESSAGES)
    _one(result, "in the drill itself: LookupError: nobody to strike")


def _refuse(scene: Scene) -> None:
    scene.sink.on("dot", Answer("554 5.7.1 No"))
