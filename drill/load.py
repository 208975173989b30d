"""People and programs that send letters, from a seed: lanes, recipients and attachments are the same each time.

Each request carries an Idempotency-Key and is sent again until it is answered 202, as a good client does. Only what
was answered counts as promised.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from local.product import KEY

SENDERS = 4
ATTACHED = base64.b64encode(b"a leaf\n" * 2000).decode()
_LANES = ("urgent", "normal", "normal", "bulk")
_SIZES = (1, 1, 1, 1, 2, 5)  # recipients


@dataclass(frozen=True)
class Asked:
    """One request. recipients are unlike any other's."""

    number: int
    body: dict[str, Any]
    recipients: tuple[str, ...]


def requests(seed: str, count: int) -> list[Asked]:
    rng = random.Random(seed)  # noqa: S311
    return [_request(rng, number) for number in range(count)]


def _request(rng: random.Random, number: int) -> Asked:
    recipients = tuple(f"p{number}-{turn}@{rng.choice('abc')}.example" for turn in range(rng.choice(_SIZES)))
    body: dict[str, Any] = {
        "to": [{"email": each, "fields": {"first_name": f"P{number}"}} for each in recipients],
        "subject": f"Saplings {number} for {{{{ first_name }}}}",
        "markdown": "Dear {{ first_name }},\n\n" + "they leave on Thursday. " * rng.randint(1, 80),
        "lane": rng.choice(_LANES),
    }
    if rng.random() < 0.1:
        body["attachments"] = [{"filename": "leaf.txt", "content": ATTACHED, "content_type": "text/plain"}]
    return Asked(number, body, recipients)


class Load:
    """Sends the requests over `seconds`, from several threads. answered: number → id of the message."""

    def __init__(self, port: int, asked: list[Asked], seconds: float) -> None:
        self.asked, self.answered = asked, dict[int, str]()
        self._more: list[Asked] = []
        self.refused: list[str] = []  # answers that no repetition can help
        self.tries = 0
        self.waiting = 0  # requests under way at this moment
        self.ended_at = 0.0
        self._port, self._pause = port, seconds / max(1, len(asked))
        self._next = 0
        self._began = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(SENDERS)]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def send(self, recipient: str, **body: Any) -> str:
        """One more letter, at once; returns its message's id when it is answered."""
        content = {"to": [{"email": recipient}], "subject": "One more", "text": "Good morning.\n"} | body
        asked = Asked(len(self.asked) + len(self._more), content, (recipient,))
        self._more.append(asked)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=70)
        try:
            if not self._ask(connection, asked) or asked.number not in self.answered:
                raise OSError(f"a letter to {recipient} was not taken")
        finally:
            connection.close()
        return self.answered[asked.number]

    @property
    def all_asked(self) -> list[Asked]:
        return [*self.asked, *self._more]

    @property
    def done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self, seconds: float) -> bool:
        """Waits until all are answered; False: they were not, in that time."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        good = self.done
        self._stop.set()
        return good

    def _take(self) -> Asked | None:
        with self._lock:
            if self._next >= len(self.asked):
                return None
            self._next += 1
            number = self._next - 1
        time.sleep(max(0.0, self._began + number * self._pause - time.monotonic()))
        return self.asked[number]

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set() and (asked := self._take()) is not None:
            while not self._stop.is_set():
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=70)
                    if self._ask(connection, asked):
                        break
                except (OSError, http.client.HTTPException):
                    pass
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.2)
        if connection is not None:
            connection.close()
        self.ended_at = time.monotonic()

    def _ask(self, connection: http.client.HTTPConnection, asked: Asked) -> bool:
        """Whether it was answered for good."""
        headers = {
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"drill-{asked.number}",
        }
        with self._lock:
            self.tries += 1
            self.waiting += 1
        try:
            connection.request("POST", "/api/v1/messages", json.dumps(asked.body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            with self._lock:
                self.waiting -= 1
        if answer.status == 202:
            self.answered[asked.number] = json.loads(text)["id"]
            return True
        if answer.status < 500:
            self.refused.append(f"{answer.status} {text[:200].decode(errors='replace')}")
            return True
        return False
