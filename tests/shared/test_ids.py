import time
from datetime import UTC, datetime, timedelta

from shared.clock import now
from shared.ids import earliest_id, made_at, new_id


def test_ids_are_version_7_and_rise_strictly() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    assert {(found.version, found.variant) for found in ids} == {(7, "specified in RFC 4122")}


def test_an_id_holds_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000 + 20  # the counter may run a little ahead
    assert datetime.fromtimestamp(made / 1000, UTC).year >= 2024


def test_the_time_of_an_id_is_read_from_it() -> None:
    before = now()
    ids = [new_id() for _ in range(1000)]
    read = [made_at(made) for made in ids]
    assert read == sorted(read)
    assert before - timedelta(microseconds=1) <= read[0]
    assert read[0] <= now()
    for made, at in zip(ids, read, strict=True):
        assert earliest_id(at) <= made < earliest_id(at + timedelta(milliseconds=1))
