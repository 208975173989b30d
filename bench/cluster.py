"""A RabbitMQ cluster on one machine: nodes that can be killed and started again one by one.

Each node is a `local.rabbitmq.Node` in a folder of its own. What makes a cluster of them is what they have in
common: the Erlang cookie, the password, one epmd (it tells who listens where), and the list of their names.
Quorum queues that are declared when all three are up have a replica on each.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local import leash, ports
from local.errors import LocalError, Unavailable
from local.rabbitmq import Node
from local.rabbitmq_programs import find
from local.remembered import Remembered

FORM_SECONDS = 60.0


class RabbitCluster:
    """number of a node: from 0. A killed node keeps its ports, so that clients find it again."""

    def __init__(self, folder: Path, size: int = 3, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder.absolute()
        self._say = say
        known = Remembered(self.folder / "cluster.json")
        cookie, password = known.secret("cookie"), known.secret("password")
        token = known.get("name", lambda: secrets.token_hex(3))
        self._epmd_port = known.port("epmd_port")
        self._epmd: leash.Leashed | None = None
        self.nodes: list[Node] = []
        for number in range(size):
            own = self.folder / f"node-{number}"
            remembered = Remembered(own / "node.json")
            remembered.put("password", password)
            remembered.put("name", f"{token}-{number}")
            self._write_cookie(own / "home", cookie)
            self.nodes.append(Node(own, say=say, epmd_port=self._epmd_port))
        names = ", ".join(f"'{node.name}'" for node in self.nodes)
        for node in self.nodes:
            (node.folder / "advanced.config").write_text(
                f"[{{rabbit, [{{cluster_nodes, {{[{names}], disc}}}},"
                " {cluster_partition_handling, pause_minority}]}].\n"
            )

    @staticmethod
    def _write_cookie(home: Path, cookie: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        path = home / ".erlang.cookie"
        if not path.exists():
            path.write_text(cookie)
            path.chmod(0o400)  # Erlang refuses one that others can read

    @property
    def urls(self) -> list[str]:
        return [node.amqp_url for node in self.nodes]

    @property
    def amqp_url(self) -> str:
        """All of them, as POSTHASTE_AMQP_URL takes it."""
        return ",".join(self.urls)

    def running(self) -> set[str]:
        """The names of the nodes that see each other, by one that is up; raises OSError when none answers."""
        problem: Exception = OSError("no node of the cluster runs")
        for node in self.nodes:
            if node.is_running():
                try:
                    return {each["name"] for each in node.management.get("nodes") if each.get("running")}
                except (OSError, ValueError) as failure:
                    problem = failure
        raise OSError(str(problem)) from problem

    def start(self) -> None:
        """Returns when all nodes are up and see each other; raises LocalError."""
        self._start_epmd()
        formed = (self.folder / "formed").exists()
        try:
            if not formed:
                self.nodes[0].start()  # the others join it; all at once they might each found a cluster
            for node in self.nodes:
                if not node.is_running():
                    node.begin()
            for node in self.nodes:
                node.finish()
            self.wait_whole()
        except BaseException:
            self.stop()
            raise
        (self.folder / "formed").touch()

    def wait_whole(self, seconds: float = FORM_SECONDS) -> None:
        """Until every node sees every other; raises LocalError."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if len(self.running()) == len(self.nodes):
                    return
            if time.monotonic() > deadline:
                raise LocalError(f"the RabbitMQ nodes in {self.folder} do not see each other")
            time.sleep(0.2)

    def kill(self, number: int) -> None:
        """As a power cut would."""
        self.nodes[number].kill()

    def stop_node(self, number: int) -> None:
        """In order: its queues' leaders move to other nodes first."""
        self.nodes[number].stop()

    def restart(self, number: int) -> None:
        """Starts a killed or stopped node; returns when it takes connections. Others must be up: it catches up."""
        self.nodes[number].start()

    def leaders(self) -> dict[str, str]:
        """Queue → name of the node that leads it."""
        node = next(node for node in self.nodes if node.is_running())
        return {queue["name"]: queue.get("leader", "") for queue in node.management.get("queues")}

    def replicas(self) -> dict[str, int]:
        """Queue → how many nodes keep it and are up."""
        node = next(node for node in self.nodes if node.is_running())
        return {queue["name"]: len(queue.get("online", ())) for queue in node.management.get("queues")}

    def pids(self) -> list[int]:
        return [node.pid for node in self.nodes if node.is_running()]

    def stop(self) -> None:
        """All at once, without order: nothing of a benchmark is kept."""
        for node in self.nodes:
            node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _start_epmd(self) -> None:
        if self._epmd is not None:
            return
        programs = find(self._say)
        if programs.epmd is None:
            raise Unavailable("A cluster needs RabbitMQ installed; in Docker its nodes do not see each other.")
        environment = os.environ | programs.environment
        environment |= {"ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self._epmd_port)}
        self._epmd = leash.start([programs.epmd], env=environment)
        deadline = time.monotonic() + 15
        while ports.is_free(self._epmd_port):
            if self._epmd.poll() is not None or time.monotonic() > deadline:
                raise LocalError("epmd does not start")
            time.sleep(0.05)


@contextlib.contextmanager
def cluster(folder: Path, size: int = 3, *, say: Callable[[str], None] = lambda _: None) -> Iterator[RabbitCluster]:
    made = RabbitCluster(folder, size, say=say)
    made.start()
    try:
        yield made
    finally:
        made.stop()
