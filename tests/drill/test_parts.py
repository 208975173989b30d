"""The drill's own parts: a load that can be repeated, and a verdict on memory that can be bad."""

from __future__ import annotations

from drill import faults as _all_faults
from drill.__main__ import wanted
from drill.checker import Result
from drill.fault import FAULTS
from drill.load import requests
from drill.soak import FAULTS_OF_A_DAY, Look, verdicts
from drill.table import heading, row

assert _all_faults


def test_a_seed_repeats_the_load() -> None:
    assert requests("a", 50) == requests("a", 50)
    assert requests("a", 50) != requests("b", 50)
    addresses = [address for asked in requests("a", 200) for address in asked.recipients]
    assert len(addresses) == len(set(addresses))


def test_faults_are_chosen_by_name_and_subject_and_the_cluster_comes_last() -> None:
    assert [each.name for each in wanted("web-killed,smtp-421")] == ["web-killed", "smtp-421"]
    assert {each.group for each in wanted("smtp")} == {"smtp"}
    assert wanted(None)[-1].nodes == 3


def test_a_soak_has_faults_that_need_no_house_of_their_own() -> None:
    for name in FAULTS_OF_A_DAY:
        fault = FAULTS[name]
        assert fault.prepare is None
        assert not fault.settings
        assert fault.nodes == 1
        assert fault.group not in ("processes", "workers", "cluster")


def _looks(*megabytes: float, pid: int = 7) -> list[Look]:
    return [Look(minute, {"web": pid}, {"web": size}, {"web": 20}, 0) for minute, size in enumerate(megabytes)]


def test_memory_that_grows_is_not_flat() -> None:
    [steady] = verdicts(_looks(*[50, 80, *[100] * 14]))
    assert steady.flat
    [growing] = verdicts(_looks(*[50 + 10 * minute for minute in range(16)]))
    assert not growing.flat
    [died] = verdicts(_looks(*[100] * 8) + _looks(*[50] * 8, pid=8))
    assert not died.flat


def test_a_row_has_a_cell_for_each_heading() -> None:
    result = Result(FAULTS["web-killed"])
    columns = heading().splitlines()[0].count("|")
    assert row(result).count("|") == columns
    result.impossible = "not here"
    assert row(result).count("|") == columns
