"""What was said in one attempt, line by line: bodies left out, secrets masked."""

import time

from email_service.outcome import clean
from shared.contracts import TalkLine
from shared.fields import without

MAX_LINES = 60  # an endless reply must not make an endless timeline
MAX_LINE_CHARACTERS = 300


class Talk:
    """Costs little to write down; what it takes to show it is done when somebody reads `lines`."""

    __slots__ = ("_began", "_said", "hidden")

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._said: list[tuple[float, str, str]] = []
        self.hidden: list[str] = []  # words of the message that a server may have repeated

    @property
    def lines(self) -> tuple[TalkLine, ...]:
        return tuple(
            TalkLine(int((at - self._began) * 1000), who, clean(without(self.hidden, text))[:MAX_LINE_CHARACTERS])
            for at, who, text in self._said
        )

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
        if len(self._said) < MAX_LINES:
            self._said.append((time.perf_counter(), who, text))
