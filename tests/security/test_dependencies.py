"""Locked with hashes, and audited as far as somebody answers."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tools import audit

ROOT = Path(__file__).resolve().parents[2]


class Osv(http.server.ThreadingHTTPServer):
    """osv.dev as far as it is asked here: knows one vulnerability, of one package."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = question["package"]["name"]
        self.server.asked.append(name)
        event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}
        affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [event]}
        known = {"id": "OSV-2026-1", "summary": "x", "affected": [affected], "published": "2026-01-01T00:00:00Z"}
        body = json.dumps({"vulns": [known]} if name == "jinja2" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def osv() -> Iterator[Osv]:
    server = Osv()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def locked(name: str) -> set[str]:
    text = (ROOT / "requirements" / name).read_text()
    return {found.lower().replace("_", "-") for found in re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", text)}


def at(port: int) -> list[str]:
    return ["--osv-url", f"http://127.0.0.1:{port}/v1/query"]


def test_a_known_vulnerability_fails_the_check(osv: Osv, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(*at(osv.server_port)) == 1
    said = capsys.readouterr().out
    assert re.search(r"(?m)^jinja2 \S+: OSV-2026-1, mended in 99.0$", said)
    assert set(osv.asked) <= locked("dev.txt")
    assert len(set(osv.asked)) > 40


def test_without_a_network_it_says_that_it_has_not_looked(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(*at(free_port())) == 0
    said = capsys.readouterr().out
    assert said.startswith("Dependencies were NOT audited: ")
    assert "nothing known" not in said


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "bench.txt"])
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9_.-]+==)", text)[1:]
    assert len(blocks) > 20
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in re.sub(r"(?m)^\s*#.*$", "", text), "an address instead of a version"
