import time
from datetime import UTC, datetime

from shared.ids import new_id


def test_ids_are_version_7_and_rise_strictly() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    assert {(found.version, found.variant) for found in ids} == {(7, "specified in RFC 4122")}


def test_an_id_holds_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000 + 20  # the counter may run a little ahead
    assert datetime.fromtimestamp(made / 1000, UTC).year >= 2024
