"""What a person sees in the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading


class Screen:
    """Quiet output: one line a fact. Colours only on a terminal, and not with NO_COLOR."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        # Parts' log threads print too.
        self._lock = threading.Lock()

    def line(self, text: str = "") -> None:
        # Whoever read us may be gone; that is no reason to stop sending mail.
        with self._lock, contextlib.suppress(OSError, ValueError):
            print(text, flush=True)

    def step(self, text: str) -> None:
        self.line(self._dim(f"  {text}"))

    def from_part(self, name: str, text: str) -> None:
        self.line(f"  {self._paint('33', name)}  {text}")

    def title(self, text: str) -> None:
        self.line(f"\n  {self._paint('1', text)}\n")

    def facts(self, rows: list[tuple[str, str, str]]) -> None:
        """Rows of a word, its value and a remark, in columns."""
        names = max(len(name) for name, _, _ in rows)
        values = max(len(value) for _, value, _ in rows)
        self.line()
        for name, value, remark in rows:
            row = f"  {self._dim(name.ljust(names))}   {value.ljust(values)}"
            self.line(f"{row}   {self._dim(remark)}" if remark else row.rstrip())
        self.line()

    def _dim(self, text: str) -> str:
        return self._paint("2", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
