"""The house's broker as faults see it: frozen, killed, in alarm; and how much lies in its queues."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from bench.cluster import RabbitCluster
from local.rabbitmq import Node
from shared.topology import DEAD_QUEUE, QUEUES


class Broker:
    """One node, or the nodes of a cluster."""

    def __init__(self, nodes: Sequence[Node], cluster: RabbitCluster | None = None) -> None:
        self.nodes, self.cluster = list(nodes), cluster

    @property
    def node(self) -> Node:
        """One that runs."""
        return next((node for node in self.nodes if node.is_running()), self.nodes[0])

    @property
    def url(self) -> str:
        return ",".join(node.amqp_url for node in self.nodes)

    def depths(self) -> dict[str, int]:
        """Queue → messages ready, asked of the queue itself; raises OSError when no node can tell."""
        problem: Exception = OSError("no node runs")
        for node in self.nodes:
            try:
                with self._connected(node) as connection:
                    return {queue.name: _depth(connection, queue.name) for queue in QUEUES}
            except (AMQPError, OSError) as failure:
                problem = failure
        raise OSError(str(problem)) from problem

    @contextlib.contextmanager
    def _connected(self, node: Node) -> Iterator[pika.BlockingConnection]:
        parameters = pika.URLParameters(node.amqp_url)
        parameters.socket_timeout = parameters.stack_timeout = 5
        parameters.connection_attempts = 1
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection
        finally:
            with contextlib.suppress(AMQPError):
                connection.close()

    def connected(self) -> contextlib.AbstractContextManager[pika.BlockingConnection]:
        return self._connected(self.node)

    def empty(self) -> None:
        """Between two faults, when nobody works."""
        with self.connected() as connection:
            for queue in QUEUES:
                with contextlib.suppress(ChannelClosedByBroker):
                    connection.channel().queue_purge(queue.name)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Not dead: its sockets stay open, and nobody answers."""
        pid = self.node.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


def _depth(connection: pika.BlockingConnection, queue: str) -> int:
    """0 for one that is not there (yet)."""
    try:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker:
        return 0


def waiting(depths: dict[str, int]) -> dict[str, int]:
    """What is not empty, but for the dead letters."""
    return {name: depth for name, depth in depths.items() if depth and name != DEAD_QUEUE}
