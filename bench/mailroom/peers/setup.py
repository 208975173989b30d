"""What a peer is told by its environment; see bench.mailroom.contestants for the values."""

from __future__ import annotations

import os

AMQP_URL = os.environ["BENCH_AMQP_URL"]
SMTP_PORT = int(os.environ["BENCH_SMTP_PORT"])
QUEUE = os.environ["BENCH_QUEUE"]
PREFETCH = int(os.environ.get("BENCH_PREFETCH", "1"))  # as the library counts it
# kept SMTP connections: of each event loop, or of each thread or process of those without one. 0: one for each mail
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "0"))
HELO = "bench.example"  # given, so that nobody asks DNS for the machine's own name
