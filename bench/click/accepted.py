"""From a person's click to the accepted mail: one letter after the other through everything real."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import datetime
from typing import Any

from bench import rig
from bench.plant import LETTER


def click_to_accepted(product: rig.Product, letters: int) -> list[float]:
    """Milliseconds from the request's arrival to the outcome, of each letter, by the product's own clocks."""
    subject, markdown = ((LETTER / name).read_text().strip() for name in ("subject.txt", "letter.md"))
    times = []
    for number in range(letters):
        draft = {
            "to": [{"email": f"person{number}@orchard.example", "fields": {"first_name": "Ada"}}],
            "subject": subject,
            "markdown": markdown,
        }
        message = _call(product, "POST", "/messages", draft)
        done = _call(product, "GET", f"/messages/{message['id']}?wait=60")
        if done["state"] != "accepted":
            raise AssertionError(f"letter {number} is {done['state']}")
        begun, ended = (datetime.fromisoformat(done[name]) for name in ("created_at", "done_at"))
        times.append((ended - begun).total_seconds() * 1000)
        time.sleep(0.05)  # people do not click in one unbroken row
    return times


def _call(product: rig.Product, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {rig.KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{product.url}/api/v1{path}", data, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
        return json.loads(answer.read())
