"""A part that dies is started again, until that is hopeless."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import parts
from local.errors import LocalError
from local.parts import Part
from tests.support.waiting import wait_until

MakePart = Callable[[str], Part]


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePart]:
    monkeypatch.setattr(parts, "BACKOFF_SECONDS", (0.0,))
    made: list[Part] = []

    def make(program: str) -> Part:
        made.append(
            Part(
                "web",
                [sys.executable, "-u", "-c", program],
                dict(os.environ),
                tmp_path / "log" / "web.log",
                lambda name, text: shown.append(f"{name}: {text}"),
                lambda: True,
            )
        )
        made[-1].start()
        return made[-1]

    yield make
    for part in made:
        part.kill()


def test_it_is_started_again(make: MakePart, shown: list[str], tmp_path: Path) -> None:
    program = """
import pathlib, sys, time
here = pathlib.Path(sys.argv[0] or ".")
print("started")
if not pathlib.Path(%r).exists():
    pathlib.Path(%r).touch()
    sys.exit(9)
time.sleep(600)
"""
    once = str(tmp_path / "once")
    part = make(program % (once, once))

    def started_twice() -> bool:
        part.look_after()
        return part.log.exists() and part.log.read_text() == "started\nstarted\n"

    wait_until(started_twice, "a second start in the log")
    assert shown == ["web: ended (exit code 9), starting again in 0 s"]


def test_five_deaths_in_a_row_end_it_all_with_its_last_words(make: MakePart) -> None:
    part = make("import sys; sys.exit('no such table: letters')")

    def look_until_it_gives_up() -> str:
        try:
            part.look_after()
        except LocalError as given_up:
            return str(given_up)
        return ""

    reason = wait_until(look_until_it_gives_up, "giving up")
    assert "web ended 5 times in a row (exit code 1)" in reason
    assert reason.endswith("no such table: letters")


def test_the_log_has_all_and_the_terminal_what_matters(make: MakePart, shown: list[str]) -> None:
    lines = [
        "2026-01-01T00:00:00.000Z INFO    crm_api: quiet",
        "2026-01-01T00:00:00.000Z WARNING crm_api: loud",
        "  and its second line",
        "2026-01-01T00:00:00.000Z INFO    crm_api: quiet again",
        '{"at": "2026-01-01T00:00:00.000+00:00", "level": "error", "event": "loud in JSON"}',
        '{"at": "2026-01-01T00:00:00.000+00:00", "level": "info", "event": "quiet in JSON"}',
    ]
    part = make(f"import time; print({chr(10).join(lines)!r}); time.sleep(600)")
    wait_until(lambda: part.log.read_text().splitlines() == lines, "all lines in the log")
    part.kill()
    assert shown == [f"web: {lines[1]}", f"web: {lines[2]}", f"web: {lines[4]}"]


def test_a_big_log_is_put_aside(make: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LOG_BYTES", 10)
    part = make("print('a line longer than that')")
    wait_until(lambda: "longer" in part.log.read_text(), "the first log")
    part.kill()
    part.start()
    aside = part.log.with_suffix(".1.log")
    wait_until(lambda: aside.exists() and part.log.exists(), "the old log aside")
    assert aside.read_text() == "a line longer than that\n"
