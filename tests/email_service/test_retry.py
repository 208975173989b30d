from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from email_service import retry
from shared import topology

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
NEVER = NOW + timedelta(days=400)


def test_the_steps_are_those_of_the_design() -> None:
    steps = [retry.after_deferral(attempt, NOW, NEVER, 0.5) for attempt in range(1, 8)]
    assert [step and step.step for step in steps] == ["30s", "2m", "10m", "30m", "1h", "4h", "4h"]
    assert [step and step.seconds for step in steps] == [30, 120, 600, 1800, 3600, 14400, 14400]


@pytest.mark.parametrize("hours", [1, 5, 24, 48, 49, 72, 240])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_messages_expiry_alone_ends_it(hours: int, chance: float) -> None:
    """Each attempt takes no time: the last one is less than the shortest last step before the end."""
    at, expires_at, tries = NOW, NOW + timedelta(hours=hours), 1
    while again := retry.after_deferral(tries, at, expires_at, chance):
        at, tries = again.until(at), tries + 1
    assert timedelta() < expires_at - at <= timedelta(minutes=12)
    assert tries <= 12 + hours // 3


def test_the_last_steps_are_the_longest_that_fit() -> None:
    def step(left: timedelta, attempt: int = 6) -> str | None:
        again = retry.after_deferral(attempt, NOW, NOW + left, 0.5)
        return again and again.step

    lefts = [timedelta(hours=h) for h in (5, 3, 0.9)] + [timedelta(minutes=m) for m in (20, 9)]
    assert [step(left) for left in lefts] == ["4h", "1h", "30m", "10m", None]
    assert step(timedelta(minutes=9), attempt=3) is None
    assert step(timedelta(minutes=9), attempt=2) == "2m"


def test_unknown_is_tried_once_more() -> None:
    again = retry.after_unknown(0, NOW, NEVER, 0.5)
    assert again is not None
    assert (again.step, again.seconds) == ("10m", 600)
    assert retry.after_unknown(1, NOW, NEVER, 0.5) is None
    assert retry.after_unknown(0, NOW, NOW + timedelta(minutes=5), 0.5) is None


@given(
    attempt=some.integers(1, 10_000),
    left=some.floats(-86_400, 12 * 86_400),
    chance=some.floats(0, 1),
    scale=some.floats(0.001, 1),
)
def test_every_wait_fits_its_queue_and_its_deadlines(attempt: int, left: float, chance: float, scale: float) -> None:
    expires_at = NOW + timedelta(seconds=left)
    again = retry.after_deferral(attempt, NOW, expires_at, chance, scale)
    if again is None:
        return
    length = topology.WAIT_SECONDS[again.step] * scale
    assert 0.8 * length * 0.999 <= again.seconds <= 1.2 * length * 1.001
    # the queue's own limit is the upper end of the jitter: it must never cut a wait short by much
    queue = next(each for each in topology.QUEUES if each.name == topology.wait_exchange(again.step))
    assert 1 <= again.milliseconds <= queue.arguments["x-message-ttl"]
    assert again.until(NOW) < expires_at


@given(seconds=some.floats(-100, 20_000))
def test_the_rest_of_a_wait_goes_into_a_queue_that_lets_it_out_in_time(seconds: float) -> None:
    rest = retry.remaining(NOW + timedelta(seconds=seconds), NOW)
    assert rest.seconds >= 0
    assert rest.step in topology.WAIT_SECONDS
    assert abs(rest.seconds - max(0, seconds)) < 1
