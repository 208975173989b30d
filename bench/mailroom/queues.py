"""The peers' queues: one vhost a library, filled by the library's own producer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from bench import rig
from local.rabbitmq import Node

QUEUE = "mails"
STARTING_SECONDS = 15.0  # until the broker has counted what was just published


class PeerQueue:
    """Filled up before each start of a contestant: what a slow one left over need not be published again."""

    def __init__(self, node: Node, library: str, folder: Path) -> None:
        self._node, self._library = node, library
        self._log = folder / f"{library}-enqueue.log"
        self._next = 0
        node.management.create_vhost(library, node.user)

    @property
    def environment(self) -> dict[str, str]:
        """What bench.mailroom.peers.setup reads, the SMTP port and the contestant's own settings excepted."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {"BENCH_AMQP_URL": self._node.url_for(self._library), "BENCH_QUEUE": QUEUE}

    def fill(self, mails: int) -> None:
        missing = mails - self._settled_depth()
        if missing > 0:
            words = ("bench.mailroom.peers.enqueue", f"{self._library}_app", str(self._next), str(missing))
            with self._log.open("ab") as output:
                subprocess.run(
                    [sys.executable, "-m", *words],
                    env=self.environment | {"BENCH_SMTP_PORT": "0"},
                    cwd=rig.ROOT,
                    stdout=output,
                    stderr=output,
                    check=True,
                    timeout=300,
                )
            self._next += missing
        rig.wait_until(lambda: self._depth() >= mails, f"{mails} letters for {self._library}", STARTING_SECONDS)

    def _settled_depth(self) -> int:
        """What workers that have just ended held in their hands comes back after a moment."""
        depth, before = self._depth(), -1
        while depth != before:
            time.sleep(0.5)
            before, depth = depth, self._depth()
        return depth

    def _depth(self) -> int:
        with self._channel() as channel:
            try:
                return int(channel.queue_declare(QUEUE, passive=True).method.message_count)
            except ChannelClosedByBroker:
                return 0  # there is none yet

    @contextlib.contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self._node.url_for(self._library)))
        try:
            yield connection.channel()
        finally:
            connection.close()
