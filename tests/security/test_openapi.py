"""Schemathesis over the whole OpenAPI document, all its checks on, signed in and not: no 5xx, nothing undocumented."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.support.databases import Template
from tests.support.stack import KEY, Stack, stack

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10  # of each operation and phase; some ten seconds
SECONDS = 60


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("house")
    url = database_template.copy_sqlite(data_dir / "posthaste.sqlite")
    with stack(data_dir, url, "amqp://nobody@127.0.0.1:1/", samples=1, sends_per_minute=0) as made:
        made.start("web")
        yield made


@pytest.mark.parametrize("signed_in", [True, False])
def test_the_api_does_what_its_document_says(house: Stack, tmp_path: Path, signed_in: bool) -> None:
    document = tmp_path / "openapi.json"
    headers = {"Authorization": f"Bearer {KEY}"}
    document.write_text(httpx2.get(f"{house.url}/openapi.json", headers=headers).text)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run", str(document)]
    command += ["--url", house.url, "--checks", "all", "--mode", "all", "--max-examples", str(EXAMPLES)]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--generation-deterministic", "--continue-on-failure"]
    command += ["--no-color", "--warnings", "off"]
    if signed_in:
        command += ["--header", f"Authorization: Bearer {KEY}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    done = subprocess.run(
        command, cwd=tmp_path, env=inherited, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-12_000:]
    operations = sum(len(methods) for methods in json.loads(document.read_text())["paths"].values())
    assert f"Tested: {operations}" in done.stdout
    assert "Traceback" not in house.log("web")


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
