"""What benchmarks found, kept as JSON under .run/bench, so that one part can be run again and the report rewritten.

Every part writes one file `<part>.json`: {"part", "at", "machine", "rows": [Row…], "notes": [str…]}.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".run" / "bench"


@dataclass(frozen=True)
class Row:
    """One line of a part's table. figures: column → number, in the unit that the column's name says."""

    name: str
    figures: Mapping[str, float]
    goal: str = ""  # in words, with the number
    met: bool | None = None  # None: there is no goal
    why: str = ""  # where a goal is missed: the measured reason
    result: str = ""  # what stands beside the goal, in words; default: the first figure


@dataclass
class Part:
    part: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: str = field(default_factory=lambda: machine())

    def keep_others(self, database: str) -> None:
        """Only one database was measured: what was saved of the other stays, before or after as it was."""
        before = load(self.part)
        if before is None:
            return
        others = [row for row in before.rows if not row.name.endswith(f", {database}")]
        notes = [note for note in before.notes if not note.startswith(database) and note not in self.notes]
        first = database == "sqlite"
        self.rows = self.rows + others if first else others + self.rows
        self.notes = self.notes + notes if first else notes + self.notes

    def save(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.part}.json").write_text(json.dumps(asdict(self), indent=1))


def load(part: str) -> Part | None:
    path = FOLDER / f"{part}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return Part(kept["part"], [Row(**row) for row in kept["rows"]], kept["notes"], kept["at"], kept["machine"])


def machine() -> str:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores {model}, Python {platform.python_version()}".replace("  ", " ")
