"""Who takes part, and with which settings: once as the documentation recommends for production, once tuned."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

CORES = os.cpu_count() or 2
_PEERS = "bench.mailroom.peers"


@dataclass(frozen=True)
class Contestant:
    name: str
    library: str  # also the vhost: both variants drain the same queue
    packages: tuple[str, ...]
    command: tuple[str, ...]
    settings: str  # in words, for the notes
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def tuned(self) -> bool:
        return self.name.endswith("tuned")

    def note(self) -> str:
        versions = ", ".join(f"{package} {version(package)}" for package in self.packages)
        return f"{self.name} ({versions}): {self.settings}."


def _python(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *words)


def _celery(*more: str) -> tuple[str, ...]:
    return _python("celery", "-A", f"{_PEERS}.celery_app", "worker", "--pool", "prefork", *more)


def _dramatiq(processes: int, threads: int) -> tuple[str, ...]:
    return _python(
        *("dramatiq", f"{_PEERS}.dramatiq_app", "--processes", str(processes), "--threads", str(threads)),
    )


def _faststream(*more: str) -> tuple[str, ...]:
    return _python("faststream", "run", f"{_PEERS}.faststream_app:app", "--workers", str(CORES), *more)


def _taskiq(*more: str) -> tuple[str, ...]:
    return _python("taskiq", "worker", f"{_PEERS}.taskiq_app:broker", "--workers", str(CORES), *more)


PEERS = (
    Contestant(
        "Celery, recommended",
        "celery",
        ("celery", "kombu", "amqp"),
        _celery("--concurrency", str(CORES)),
        f"prefork, {CORES} processes (one a core, its default), task_acks_late, worker_prefetch_multiplier 1, "
        "quorum queue, smtplib with a connection a mail",
        {"BENCH_PREFETCH": "1"},
    ),
    Contestant(
        "Celery, tuned",
        "celery",
        ("celery",),
        _celery("--concurrency", str(2 * CORES), "--without-gossip", "--without-mingle", "--without-heartbeat"),
        f"prefork, {2 * CORES} processes, task_acks_late, worker_prefetch_multiplier 128, quorum queue, "
        "a kept smtplib connection in each process, no gossip, no mingle, no heartbeat",
        {"BENCH_PREFETCH": "128", "BENCH_CONNECTIONS": "1"},
    ),
    Contestant(
        "Dramatiq, recommended",
        "dramatiq",
        ("dramatiq", "pika"),
        _dramatiq(CORES, 8),
        f"{CORES} processes of 8 threads (its defaults), prefetch 16, acks after the work, smtplib with a connection "
        "a mail; durable classic queue, for it has no setting for quorum queues",
    ),
    Contestant(
        "Dramatiq, tuned",
        "dramatiq",
        ("dramatiq",),
        _dramatiq(CORES, 2),
        f"{CORES} processes of 2 threads (more are slower), prefetch 100, classic queue, a kept smtplib connection in "
        "each thread",
        {"dramatiq_queue_prefetch": "100", "BENCH_CONNECTIONS": "1"},
    ),
    Contestant(
        "FastStream, recommended",
        "faststream",
        ("faststream", "aio-pika", "aiosmtplib", "uvloop"),
        _faststream(),
        f"{CORES} processes, uvloop, prefetch 10, nack on errors, quorum queue, aiosmtplib.send() with a connection "
        "a mail",
        {"BENCH_PREFETCH": "10"},
    ),
    Contestant(
        "FastStream, tuned",
        "faststream",
        ("faststream",),
        _faststream("--log-level", "warning"),
        f"{CORES} processes, uvloop, prefetch 20, quorum queue, 10 kept aiosmtplib connections in each process, "
        "no log line a message",
        {"BENCH_PREFETCH": "20", "BENCH_CONNECTIONS": "10"},
    ),
    Contestant(
        "taskiq, recommended",
        "taskiq",
        ("taskiq", "taskiq-aio-pika", "aio-pika", "aiosmtplib", "uvloop"),
        _taskiq(),
        f"{CORES} processes, uvloop, prefetch 10, acks when the result is saved, quorum queue (all its defaults), "
        "aiosmtplib.send() with a connection a mail",
        {"BENCH_PREFETCH": "10"},
    ),
    Contestant(
        "taskiq, tuned",
        "taskiq",
        ("taskiq",),
        _taskiq("--no-parse", "--log-level", "WARNING"),
        f"{CORES} processes, uvloop, prefetch 20, quorum queue, 10 kept aiosmtplib connections in each process, "
        "arguments not parsed, no log line a task",
        {"BENCH_PREFETCH": "20", "BENCH_CONNECTIONS": "10"},
    ),
)
