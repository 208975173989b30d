"""A log line is one line and text: what others wrote moves no cursor and begins no line."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.settings import PosthasteSettings
from shared.telemetry import set_up_logging

EVIL = [
    "x\n2026-11-27T00:00:00.000Z ERROR web: forged",
    "x\r2026 forged",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "a\u202eb",
    "a\u2028b",
    "a\x85b",
    "a\0b",
    "\x08\x08\x08",
    "\x1b]0;title\x07",
]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Any:
    """Logs by what is set up for a process, and gives what was written."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def written(form: str, *arguments: Any, **more: Any) -> str:
        set_up_logging(PosthasteSettings(data_dir=Path(), log_format=form))  # type: ignore[arg-type]
        logging.getLogger("web").warning(*arguments, **more)
        return capsys.readouterr().err

    yield written
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("evil", EVIL)
def test_one_event_is_one_line(lines: Any, evil: str, form: str) -> None:
    for said in (lines(form, "refused %s", evil), lines(form, "refused", extra={"who": evil})):
        assert said.endswith("\n")
        assert said.count("\n") == 1
        assert said[:-1].isprintable(), said


def test_a_traceback_has_its_lines_and_no_event_among_them(lines: Any) -> None:
    try:
        raise ValueError(EVIL[0] + "\x1b[2J")
    except ValueError:
        said = lines("text", "a defect", exc_info=sys.exc_info())
    first, *rest = said.splitlines()
    assert first.endswith("web: a defect")
    assert len(rest) > 2
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in said
