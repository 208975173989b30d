"""Virtual hosts for tests, deleted when the broker can bear it.

RabbitMQ up to 3.10.19 (Debian 12 has 3.10.8) gives its dead-lettering up for good when two queues vanish within
five seconds while their dead-letter workers register with them; no quorum queue can be declared any more then
(rabbitmq-server pull request 7677). Queues just declared, or just recovered, are in that moment. So a virtual
host rests for a while before it is deleted.
"""

from __future__ import annotations

import secrets
import time

from local.rabbitmq import Node

SETTLED_SECONDS = 10


class Vhosts:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._left: list[tuple[float, str]] = []

    def make(self) -> str:
        """The name of a fresh one; the node runs afterwards."""
        self._node.start()
        self._delete_settled()
        name = f"test-{secrets.token_hex(6)}"
        self._node.management.create_vhost(name, self._node.user)
        return name

    def leave(self, name: str) -> None:
        """Nobody needs it any more. The node may have been stopped meanwhile."""
        self._left.append((time.monotonic(), name))

    def _delete_settled(self) -> None:
        settled = time.monotonic() - SETTLED_SECONDS
        ready = [name for left, name in self._left if left < settled]
        if not ready or self._node.management.get("nodes")[0].get("uptime", 0) < SETTLED_SECONDS * 1000:
            return
        self._left = [(left, name) for left, name in self._left if name not in ready]
        for name in ready:
            self._node.management.delete_vhost(name)
