"""Schemathesis over the whole OpenAPI document, all its checks on, signed in and not: no 5xx, nothing undocumented."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.support.databases import Template
from tests.support.stack import KEY, Stack, stack

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10  # of each operation and phase; some ten seconds
SECONDS = 280


LARGE = {"maxLength": 10_000, "maxItems": 100, "maxProperties": 100}

# who tries these may revoke the key that he tries with, and the rest would be refused: they have a run of their own
ONESELF = r"/(keys|users)/\{"
RUNS = {
    "all that leaves the key as it is": ["--exclude-path-regex", ONESELF],
    "keys and users": ["--include-path-regex", ONESELF],
    "not signed in": [],
}


def _without_large_maxima(part: Any) -> Any:
    """It tries each maximum and one more: megabytes a hundred times over. test_maxima.py tries those."""
    if isinstance(part, list):
        return [_without_large_maxima(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {name: value for name, value in part.items() if not (name in LARGE and _is_above(value, LARGE[name]))}
    return {name: _without_large_maxima(value) for name, value in kept.items()}


def _is_above(value: Any, most: int) -> bool:
    return isinstance(value, int) and value > most


@pytest.fixture
def house(tmp_path: Path, database_template: Template) -> Iterator[Stack]:
    url = database_template.copy_sqlite(tmp_path / "posthaste.sqlite")
    with stack(tmp_path / "data", url, "amqp://nobody:nothing@127.0.0.1:1/", samples=1, sends_per_minute=0) as made:
        made.start("web")
        yield made


def operations(document: dict[str, Any], run: str) -> int:
    """How many the run has to try."""
    of_oneself = run == "keys and users"
    return sum(
        len(methods)
        for path, methods in document["paths"].items()
        if run == "not signed in" or bool(re.search(ONESELF, path)) is of_oneself
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", RUNS)
def test_the_api_does_what_its_document_says(house: Stack, tmp_path: Path, run: str) -> None:
    file = tmp_path / "openapi.json"
    headers = {"Authorization": f"Bearer {KEY}"}
    document = httpx2.get(f"{house.url}/openapi.json", headers=headers).json()
    file.write_text(json.dumps(_without_large_maxima(document)))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run", str(file)]
    command += ["--url", house.url, "--checks", "all", "--mode", "all", "--max-examples", str(EXAMPLES)]
    # whoever is nobody is refused before anything is read: what fuzzing makes up does not matter
    phases = "examples,coverage" if run == "not signed in" else "examples,coverage,fuzzing,stateful"
    command += ["--phases", phases, "--generation-deterministic", "--continue-on-failure"]
    command += ["--no-color", "--warnings", "off", *RUNS[run]]
    if run != "not signed in":
        command += ["--header", f"Authorization: Bearer {KEY}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    done = subprocess.run(
        command, cwd=tmp_path, env=inherited, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-12_000:]
    assert f"Tested: {operations(json.loads(file.read_text()), run)}\n" in done.stdout
    assert "Traceback" not in house.log("web")
    if run != "keys and users":
        assert httpx2.get(f"{house.url}/openapi.json", headers=headers).status_code == 200, (
            "the key was good to the end"
        )


def test_every_problem_of_the_api_is_in_the_document(api: TestClient, app: FastAPI) -> None:
    document = app.openapi()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/"):
                assert {"401", "403", "503"} <= set(operation["responses"]), f"{method} {path}"
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    assert list(answer["content"]) == ["application/problem+json"], f"{method} {path} {status}"
    answer = api.get("/api/v1/messages/none")
    assert set(answer.json()) <= set(document["components"]["schemas"]["Problem"]["properties"])


def test_a_wrong_method_is_told_the_right_ones(api: TestClient) -> None:
    for path, allowed in (
        ("/api/v1/customers", "GET, POST"),
        ("/api/v1/customers/tags", "GET"),
        ("/api/v1/customers/00000000-0000-7000-8000-000000000000", "DELETE, GET, PATCH"),
        ("/api/v1/messages", "GET, POST"),
        ("/health/live", "GET"),
    ):
        answer = api.put(path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), path
    assert api.patch("/api/v1/customers/tags", json={}).headers["Allow"] == "GET"


def test_a_time_is_written_and_no_number(api: TestClient) -> None:
    draft = {"to": [{"email": "ada@example.com"}], "subject": "x", "text": "x"}
    for wrong in (0.5, 4_000_000_000, "4000000000", "1e9", " 12 "):
        answer = api.post("/api/v1/messages", json=draft | {"send_at": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "send_at"), wrong
    assert api.get("/api/v1/audit?until=0.5").status_code == 422
    assert api.get("/api/v1/audit", params={"until": "2099-01-01T00:00:00Z"}).status_code == 200
