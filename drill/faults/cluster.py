"""Three nodes: one dies, or is cut off from the others. All their URLs are known to the product."""

from __future__ import annotations

import time

from drill.fault import fault
from drill.scene import Scene, until
from drill.sockets import connected_to
from local.rabbitmq import Node


@fault("node-killed", "three nodes: the one that dispatch talks to is killed", nodes=3, seconds=15, patience=90)
def node_killed(scene: Scene) -> None:
    node = _node_of(scene, scene.product.pid("dispatch"))
    node.kill()
    until(lambda: scene.product.pid("dispatch") and _others(scene, node), "dispatch at another node", 60)
    node.start()
    assert scene.broker.cluster is not None
    scene.broker.cluster.wait_whole()


@fault("node-cut-off", "three nodes: a partition in which a worker's node is lost", nodes=3, seconds=20, patience=90)
def node_cut_off(scene: Scene) -> None:
    """It no longer lets the others in, finds itself alone, and pauses until they are back."""
    node = _node_of(scene, scene.product.workers()[0])
    others = [each for each in scene.broker.nodes if each is not node]
    for verb in ("erlang:set_cookie('{}', cut_off)", "erlang:disconnect_node('{}')"):
        node.control("eval", ", ".join(verb.format(each.name) for each in others) + ".")
    time.sleep(scene.rng.uniform(10, 20))
    cookie = (node.folder / "home" / ".erlang.cookie").read_text()
    node.control("eval", ", ".join(f"erlang:set_cookie('{each.name}', '{cookie}')" for each in others) + ".")
    assert scene.broker.cluster is not None
    scene.broker.cluster.wait_whole()


def _node_of(scene: Scene, pid: int) -> Node:
    by_port = {node.port: node for node in scene.broker.nodes}
    found = connected_to(pid, set(by_port))
    return by_port[scene.rng.choice(sorted(found))]


def _others(scene: Scene, node: Node) -> set[int]:
    ports = {each.port for each in scene.broker.nodes if each is not node}
    return connected_to(scene.product.pid("dispatch"), ports)
