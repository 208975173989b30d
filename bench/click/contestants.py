"""Who answers the click: the product, its twin that only validates, and what people would write instead."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import rig
from bench.click.relay import relay
from bench.mailroom.queues import PeerQueue
from local import leash, ports

ROUND_TRIP_SECONDS = 0.05
OURS, VALIDATES = "Posthaste", "only validates"
PLAIN = "FastAPI route, only validates"
IN_REQUEST = "aiosmtplib in the request"
CELERY, CONFIRMED = "Celery delay()", "Celery delay(), confirmed"


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    letters: str  # as bench.click.load names them


@contextlib.contextmanager
def servers(kind: str, folder: Path, peers: bool) -> Iterator[tuple[list[Server], rig.Product]]:
    """All of them up at once; those that are not asked have nothing to do. kind: of database, for our own two."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(rig.broker(folder))
        url = stack.enter_context(rig.database(kind, folder)).url
        product = stack.enter_context(
            rig.product(folder / "data", url, node.amqp_url, "smtp://127.0.0.1:1?tls=none", sends_per_minute=0)
        )
        product.start("web")
        made = [
            Server(OURS, product.port, "drafts"),
            stack.enter_context(_server(VALIDATES, "bench.click.validates:app", "drafts", product.environment, folder)),
        ]
        if peers:
            sink = stack.enter_context(rig.sink(folder))
            far = stack.enter_context(relay(sink.port, ROUND_TRIP_SECONDS))
            queue = PeerQueue(node, "celery", folder)
            environment = queue.environment | {"BENCH_SMTP_PORT": str(far)}
            for name, app, confirm in (
                (PLAIN, "plain_route", "0"),
                (IN_REQUEST, "in_request", "0"),
                (CELERY, "celery_delay", "0"),
                (CONFIRMED, "celery_delay", "1"),
            ):
                settings = environment | {"BENCH_CONFIRM": confirm}
                module = f"bench.click.peers.{app}:app"
                made.append(stack.enter_context(_server(name, module, "finished", settings, folder)))
        yield made, product


@contextlib.contextmanager
def _server(name: str, app: str, letters: str, environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """uvicorn with uvloop and httptools and no access log, as our own web process."""
    port = ports.free_port()
    words = ("uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning")
    factory = ("--factory",) if letters == "drafts" else ()
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = leash.start(
            [sys.executable, "-m", *words, *factory], env=environment, cwd=rig.ROOT, stdout=output, stderr=output
        )
    try:
        rig.wait_until(lambda: not ports.is_free(port) or process.poll() is not None, f"{name}; see {log}", 30)
        yield Server(name, port, letters)
    finally:
        process.stop(10)
