"""The table of a drill, for the terminal and for docs/drill.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from drill.checker import Result

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "drill.md"
HEAD = ("fault", "messages", "letters", "lost", "doubled", "unknown", "failed", "s to recover", "")


def cells(result: Result) -> tuple[str, ...]:
    if result.impossible:
        return (result.fault.title, *[""] * 7, result.impossible)
    numbers = (result.messages, result.deliveries, result.lost, result.doubled, result.unknown, result.failed)
    verdict = "good" if result.good else "**not good**"
    return (result.fault.title, *(f"{number:,}" for number in numbers), f"{result.seconds:.1f}", verdict)


def row(result: Result) -> str:
    return f"| {' | '.join(cells(result))} |"


def heading() -> str:
    return f"| {' | '.join(HEAD)} |\n|---|{'---:|' * 7}---|"


def markdown(results: Sequence[Result]) -> str:
    return "\n".join([heading(), *map(row, results)])


def write(place: str, command: str, seen: str, document: Path = DOCUMENT) -> None:
    """Puts what a full run has shown into its place in the document: sqlite, postgresql or soak."""
    text = document.read_text()
    begin, end = f"<!-- {place} -->", f"<!-- end of {place} -->"
    table = f"{begin}\n`{command}`\n\n{seen}\n{end}"
    changed = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: table, text, flags=re.DOTALL)
    document.write_text(changed)
