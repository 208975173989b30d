"""What was said in one attempt, line by line: bodies left out, secrets masked."""

import time

from email_service.outcome import clean
from shared.contracts import TalkLine

MAX_LINES = 60  # an endless reply must not make an endless timeline
MAX_LINE_CHARACTERS = 300


class Talk:
    __slots__ = ("_began", "lines")

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.lines: list[TalkLine] = []

    def us(self, text: str) -> None:
        self._add("us", text)

    def tls(self, text: str) -> None:
        self._add("tls", text)

    def them(self, code: int, text: str) -> None:
        if "\n" not in text:
            self._add("them", f"{code} {text}")
            return
        *first, last = text.split("\n")
        for line in first:
            self._add("them", f"{code}-{line}")
        self._add("them", f"{code} {last}")

    def _add(self, who: str, text: str) -> None:
        if len(self.lines) < MAX_LINES:
            milliseconds = int((time.perf_counter() - self._began) * 1000)
            self.lines.append(TalkLine(milliseconds, who, clean(text)[:MAX_LINE_CHARACTERS]))
