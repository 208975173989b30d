"""The house that faults strike: a broker, databases and a sink that stay, and the product, new for each fault."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cluster import RabbitCluster
from drill import checker
from drill.broker import Broker
from drill.checker import Result
from drill.databases import databases
from drill.fault import Fault, Impossible
from drill.load import Load, requests
from drill.scene import PARTS, Kept, Missed, Scene, until
from drill.sink import Sink
from local import product
from local.errors import LocalError
from local.rabbitmq import Node

# as in production, only that everything waits less long; longer than a busy machine may stand still
SETTINGS: dict[str, object] = {
    "workers": 2,
    "connections": 10,
    "room": "drill",
    "connect_seconds": 8,
    "greeting_seconds": 8,
    "command_seconds": 8,
    "data_seconds": 5,
    "dot_seconds": 6,
    "reset_seconds": 5,
    "lease_seconds": 14,
    "retry_scale": 0.005,
    "probe_seconds": 2,
    "drain_seconds": 20,
    "connection_mails": 8,
    "reconcile_seconds": 2,  # and never requeues within a drill, but where a fault says so: it would hide a loss
}
CONVERSATIONS = 20  # that all workers can have at the same time


class House:
    def __init__(self, folder: Path, database: str, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.database, self._say = folder, database, say
        self.sink = Sink()
        self._node = Node(folder / "rabbitmq", say=say)
        self._cluster: RabbitCluster | None = None
        self._databases = databases(database, folder, say)

    def __enter__(self) -> House:
        try:
            self.sink.start()
            self._databases.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._node.kill()
        if self._cluster is not None:
            self._cluster.stop()
        self._databases.stop()
        self.sink.stop()

    def _broker(self, nodes: int) -> Broker:
        """One of them runs at a time."""
        if nodes > 1:
            self._node.stop()
            if self._cluster is None:
                self._cluster = RabbitCluster(self.folder / "cluster", nodes, say=self._say)
            self._cluster.start()
            return Broker(self._cluster.nodes, self._cluster)
        if self._cluster is not None:
            self._cluster.stop()
        self._node.start()
        return Broker([self._node])

    # ---- one fault -----------------------------------------------------------------------------------------

    def run(self, fault: Fault, seed: str, messages: int) -> Result:
        """Never raises for what the product does; that is a complaint."""
        result = Result(fault)
        try:
            with self.stage(fault, f"{seed} {fault.name}", messages) as scene:
                self._play(scene, fault, result)
        except Impossible as reason:
            result.impossible = str(reason)
        except (Missed, LocalError, OSError, subprocess.SubprocessError) as problem:
            result.complaints.append(f"{type(problem).__name__}: {problem}")
        if self.sink.problems:  # then what should have been struck may not have been
            result.complaints.append(f"in the drill itself: {'; '.join(self.sink.problems)}")
        return result

    def _scene(self, fault: Fault, seed: str, messages: int, folder: Path, stack: contextlib.ExitStack) -> Scene:
        data = folder / "data"
        data.mkdir(parents=True)
        if fault.tmpfs_megabytes:
            stack.enter_context(_tmpfs(data, fault.tmpfs_megabytes))
        broker = self._broker(fault.nodes)
        broker.empty()
        self.sink.behave()
        self.sink.forget()
        rng = random.Random(seed)  # noqa: S311
        self.sink.pipelining = rng.random() < 0.5
        stores = self._databases.fresh(data)
        told = product.environment(
            data,
            **SETTINGS
            | {
                "database_url": stores.crm_url,
                "ledger_url": stores.ledger_url,
                "amqp_url": broker.url,
                "smtp_url": f"smtp://127.0.0.1:{self.sink.port}?tls=none",
            }
            | dict(fault.settings),
        )
        made = Kept(data, told, int(told["POSTHASTE_PORT"]))
        made.logs = folder
        stack.callback(made.kill_all)
        load = Load(made.port, requests(seed, messages), fault.seconds)
        scene = Scene(made, stores, self._databases, broker, self.sink, load, rng, seed, folder)
        stack.enter_context(scene.undo)
        return scene

    @contextlib.contextmanager
    def stage(self, fault: Fault, seed: str, messages: int) -> Iterator[Scene]:
        """Everything but the product's parts is up. Whatever runs at the end is killed."""
        folder = self.folder / "faults" / fault.name
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.ExitStack() as stack:
            yield self._scene(fault, seed, messages, folder, stack)

    def _play(self, scene: Scene, fault: Fault, result: Result) -> None:
        if fault.prepare is not None:
            fault.prepare(scene)
        scene.product.start(*PARTS)
        scene.load.start()
        try:
            moment = scene.rng.uniform(0.1, 0.5) * len(scene.load.asked)
            until(lambda: len(scene.load.answered) >= moment, "the load to be under way", 120)
            fault.strike(scene)
        finally:
            scene.undo.close()
            healed_at = time.monotonic()
            all_answered = scene.load.finish(fault.patience)
        if not all_answered:
            result.complaints.append("not every request was answered")
        if left := checker.settle(scene, fault.patience):
            result.complaints.append(f"after {fault.patience:.0f} s: {left}")
        result.seconds = time.monotonic() - max(healed_at, scene.load.ended_at)
        checker.check(scene, result)
        checker.end(scene, result)
        result.complaints += scene.complaints


@contextlib.contextmanager
def _tmpfs(folder: Path, megabytes: int) -> Iterator[None]:
    """Raises Impossible: only root can."""
    if os.geteuid() != 0:
        raise Impossible("a file system of its own needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        raise Impossible("a file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
