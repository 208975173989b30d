"""`python -m crm_api broker` waits for a node that is booting, and says why; what is refused it says at once."""

from __future__ import annotations

import http.server
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from crm_api import broker
from crm_api.broker import BrokerRefused, BrokerSettings, set_up
from local.management import Management

# as a booting RabbitMQ 4.3 answers /api/overview
CRASH = json.dumps(
    {"error": "internal_server_error", "reason": "{badmatch,\n {error,feature_flags_registry}}"}
).encode()
OVERVIEW = json.dumps({"rabbitmq_version": "4.3.6"}).encode()
Answer = tuple[int, bytes, int | None]  # status, body, Content-Length if it is not the body's


@contextmanager
def console(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """Gives these answers, the last one for ever; yields its URL, and what it was asked."""
    left, asked = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body, length = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def settings(place: str) -> BrokerSettings:
    url = f"http://root:{secrets.token_hex(12)}@{place}/behind/a/proxy"
    return BrokerSettings(broker_admin_url=SecretStr(url), dispatch_password=SecretStr(secrets.token_hex(16)))


GOOD: Answer = (200, OVERVIEW, None)
NOT_YET: list[Answer] = [
    (500, CRASH, None),
    (500, b"", None),
    (502, b"<html>Bad Gateway</html>", None),
    (503, b"{}", None),
    (404, b'{"error":"Object Not Found","reason":"Not Found"}', None),
    (200, OVERVIEW, len(OVERVIEW) + 10),
]


@pytest.mark.parametrize("not_yet", [*NOT_YET, (200, OVERVIEW[:10], None)])
def test_a_booting_node_is_waited_for(not_yet: Answer) -> None:
    with console(not_yet, not_yet, GOOD) as (place, asked):
        set_up(settings(place))
    assert asked == ["GET /behind/a/proxy/api/overview"] * 3 + ["POST /behind/a/proxy/api/definitions"]


@pytest.mark.parametrize("not_yet", NOT_YET)
def test_so_is_one_that_goes_down_between(not_yet: Answer) -> None:
    with console(GOOD, not_yet, not_yet, GOOD) as (place, asked):
        set_up(settings(place))
    assert asked == ["GET /behind/a/proxy/api/overview"] + ["POST /behind/a/proxy/api/definitions"] * 3


def test_the_wait_has_an_end_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "WAIT_SECONDS", 0)
    with console((500, CRASH, None)) as (place, asked), pytest.raises(BrokerRefused) as refused:
        set_up(settings(place))
    assert "not ready: it answered 500: internal_server_error: {badmatch, {error,feature_flags" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(asked) >= 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_is_refused_is_not_asked_again(status: int) -> None:
    body = b'{"error":"not_authorised","reason":"Login failed"}'
    with console((status, body, None)) as (place, asked), pytest.raises(BrokerRefused) as refused:
        set_up(settings(place))
    assert f"it answered {status}: not_authorised: Login failed" in str(refused.value)
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [(500, CRASH, None), (200, OVERVIEW[:10], None), (200, OVERVIEW, 1000)])
def test_the_launcher_waits_too(answer: Answer) -> None:
    with console(answer) as (place, _):
        assert not Management(f"http://{place}", "root", "word").answers()
    with console((200, OVERVIEW, None)) as (place, _):
        assert Management(f"http://{place}", "root", "word").answers()
