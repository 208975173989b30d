"""python -m bench.click.load PORT CLIENTS SECONDS LETTERS: sends letters over kept connections, one by one on each.

LETTERS: `drafts` as Posthaste takes them, `own-words` so that no two are alike, or `finished` as the peers take them.

A process of its own, so that the server has a core to itself. It speaks just enough HTTP/1.1 to cost the machine
little: 30 µs a request, where a client library costs more than the servers that are measured. Prints one line of
JSON: {"times": [ms…], "seconds": s}.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.mailroom.letters import letters as finished
from bench.rig import KEY, ROOT

LETTER = ROOT / "bench" / "letter"
PEOPLE = 500


@dataclass(frozen=True)
class Answers:
    times: list[float]  # ms, of every request
    seconds: float

    @property
    def rate(self) -> float:
        """Requests/s."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))]


def measure(port: int, clients: int, seconds: float, letters: str = "drafts") -> Answers:
    """Loads the server on this port from another process; raises CalledProcessError if an answer was no 202."""
    run = [sys.executable, "-m", "bench.click.load", str(port), str(clients), str(seconds), letters]
    done = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    return Answers(**json.loads(done.stdout))


def bodies(letters: str) -> Iterator[dict[str, object]]:
    """The letter to each of the people, again and again."""
    if letters == "finished":
        yield from itertools.cycle([dict(letter) for letter in finished(0, PEOPLE)])
    subject = (LETTER / "subject.txt").read_text().strip()
    markdown = (LETTER / "letter.md").read_text()
    with (LETTER / "people.csv").open() as file:
        people = list(csv.DictReader(file))
    for number, person in enumerate(itertools.cycle(people)):
        to = {"email": person["address"], "name": person["name"], "fields": {"first_name": person["name"].split()[0]}}
        words = f"{markdown}\nOrder {number}\n" if letters == "own-words" else markdown
        yield {"to": [to], "subject": subject, "markdown": words}


def requests(port: int, letters: str) -> Iterator[bytes]:
    for each in bodies(letters):
        body = json.dumps(each).encode()
        head = (
            f"POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


class Client(asyncio.Protocol):
    """Sends the next request when the answer to the last has come whole."""

    def __init__(self, ready: list[bytes], times: list[float], until: float) -> None:
        self._ready, self._times, self._until = ready, times, until
        self._came = b""
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        self._send()

    def _send(self) -> None:
        request = self._ready.pop()
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, gap, body = self._came.partition(b"\r\n\r\n")
        if not gap or len(body) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return
        now = time.perf_counter()
        self._times.append((now - self._began) * 1000)
        if not head.startswith(b"HTTP/1.1 202 "):
            self._end(AssertionError(self._came.decode()))
        elif now >= self._until or not self._ready:
            self._end()
        else:
            self._came = b""
            self._send()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(problem or ConnectionError("the server closed the connection"))

    def _end(self, problem: Exception | None = None) -> None:
        if problem:
            self.done.set_exception(problem)
        else:
            self.done.set_result(None)
        self._transport.close()


async def load(port: int, clients: int, seconds: float, letters: str) -> Answers:
    loop = asyncio.get_running_loop()
    ready = list(itertools.islice(requests(port, letters), int(seconds * 12_000) + clients))
    times: list[float] = []
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Client(ready, times, began + seconds), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return Answers(times, time.perf_counter() - began)


def main() -> None:
    port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    found = uvloop.run(load(port, clients, seconds, sys.argv[4]))
    # its own buffer: more than a pipe holds is written by halves where PYTHONUNBUFFERED is set
    with open(sys.stdout.fileno(), "w", closefd=False) as output:
        json.dump({"times": [round(ms, 4) for ms in found.times], "seconds": found.seconds}, output)


if __name__ == "__main__":
    main()
