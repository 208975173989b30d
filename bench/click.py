"""python -m bench.click: from a click to an accepted mail, on an idle machine, with everything real.

Starts the whole product in a folder of its own, sends letters one after the other over the API to the sandbox
inbox, and prints what the caller waits for (the 202), and how long the letter takes to be accepted.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from json import dumps, loads
from pathlib import Path
from typing import Any

from local import leash, ports

ROOT = Path(__file__).resolve().parents[1]
KEY = "ph_bench" + "0" * 40


@contextmanager
def product(database_url: str | None) -> Iterator[str]:
    """The address of a running product, stopped in the end."""
    with tempfile.TemporaryDirectory(prefix="posthaste-bench-") as folder:
        port = ports.free_port()
        environment = os.environ | {
            "POSTHASTE_DATA_DIR": folder,
            "POSTHASTE_PORT": str(port),
            "POSTHASTE_API_KEY": KEY,
            "POSTHASTE_SAMPLES": "0",
        }
        if database_url:
            environment["POSTHASTE_DATABASE_URL"] = database_url
        log = Path(folder) / "bench.log"
        with log.open("wb") as file:
            running = leash.start(
                [sys.executable, "-m", "local", "run"], env=environment, cwd=ROOT, stdout=file, stderr=file
            )
        try:
            while b"ready: " not in log.read_bytes():
                if running.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.stop(60)


class Api:
    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else dumps(body).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
            return loads(answer.read())


def measure(api: Api, letters: int) -> dict[str, list[float]]:
    """Milliseconds of each letter, by what was waited for."""
    found: dict[str, list[float]] = {
        "answered 202": [],
        "accepted, as the caller sees it": [],
        "accepted, by the clocks": [],
    }
    for number in range(letters):
        draft = {
            "to": [{"email": f"person{number}@example.com", "fields": {"first_name": "Ada"}}],
            "subject": f"Saplings {number}",
            "markdown": "Dear {{ first_name }},\n\nthey leave on **Thursday**.\n\nKind regards\nIda",
        }
        start = time.perf_counter()
        message = api.call("POST", "/messages", draft)
        answered = time.perf_counter()
        done = api.call("GET", f"/messages/{message['id']}?wait=60")
        end = time.perf_counter()
        if done["state"] != "accepted":
            sys.exit(f"letter {number} is {done['state']}")
        clicked = datetime.fromisoformat(done["created_at"])
        found["answered 202"].append((answered - start) * 1000)
        found["accepted, as the caller sees it"].append((end - start) * 1000)
        found["accepted, by the clocks"].append(
            (datetime.fromisoformat(done["done_at"]) - clicked).total_seconds() * 1000
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.click", description=__doc__.splitlines()[0])
    parser.add_argument("--letters", type=int, default=50)
    parser.add_argument("--database-url", help="a PostgreSQL to use; default: SQLite")
    arguments = parser.parse_args()
    with product(arguments.database_url) as url:
        api = Api(url)
        measure(api, 5)  # connections and caches are warm, as on any working day
        found = measure(api, arguments.letters)
    print(f"from a click to an accepted mail, {arguments.letters} letters one after the other, milliseconds")
    print(f"{'':34}{'median':>8}{'p95':>8}{'max':>8}")
    for name, times in found.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"{name:34}{statistics.median(times):8.1f}{p95:8.1f}{max(times):8.1f}")


if __name__ == "__main__":
    main()
