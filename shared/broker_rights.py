"""Who may do what at the broker: users of the processes, and definitions that RabbitMQ takes.

Nobody here may declare or delete a queue of ours: `python -m crm_api broker` does that, with an administrator's
password that no long-running process has. Web is not in the table: it holds no AMQP connection.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared import topology
from shared.lanes import Lane

NOTHING = "^$"
# where a process hears mail.ctl: named by the broker, gone with the connection
OWN_QUEUES = r"amq\.gen-.*"


@dataclass(frozen=True)
class Rights:
    """Regular expressions of names. topics: exchange → routing keys to (write, read), where not any will do."""

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tags: str = ""


def _names(*names: str, own_queues: bool = False) -> str:
    parts = [re.escape(name) for name in names] + [OWN_QUEUES] * own_queues
    return f"^({'|'.join(parts)})$"


def rights(version: tuple[int, ...] = (0,)) -> dict[str, Rights]:
    """By user. version: RabbitMQ's; from 4.3 on, to ask how long a queue is takes the right to configure it."""
    lanes = [topology.lane_queue(lane) for lane in Lane]
    keys = _names(*(topology.lane_key(lane) for lane in Lane))
    asked = [queue.name for queue in topology.QUEUES] if version >= (4, 3) else []
    return {
        "dispatch": Rights(
            configure=_names(*asked, own_queues=True),
            write=_names(topology.COMMANDS, own_queues=True),
            read=_names(topology.OUTCOMES_QUEUE, topology.DEAD_QUEUE, topology.CONTROL, own_queues=True),
            topics={
                topology.COMMANDS: (keys, NOTHING),
                topology.CONTROL: (NOTHING, _names(topology.HEARTBEAT_KEY)),
            },
        ),
        "mailroom": Rights(
            write=_names(topology.EVENTS, topology.CONTROL, *map(topology.wait_exchange, topology.WAIT_SECONDS)),
            read=_names(*lanes),
            topics={
                topology.EVENTS: (_names(topology.OUTCOME_KEY, topology.STARTED_KEY), NOTHING),
                topology.CONTROL: (_names(topology.HEARTBEAT_KEY), NOTHING),
            },
        ),
        # sees queues, rates and connections; no letter, and changes nothing
        "console": Rights(tags="monitoring"),
    }


def definitions(passwords: Mapping[str, str], vhost: str, version: tuple[int, ...]) -> dict[str, Any]:
    """The topology, the users whose passwords are given and their rights, as POST /api/definitions takes them."""
    table = {user: its for user, its in rights(version).items() if user in passwords}
    here = {"vhost": vhost}
    plain: dict[str, Any] = {"arguments": {}}
    lasting = {"durable": True, "auto_delete": False}
    return {
        "users": [{"name": user, "tags": its.tags} | _hashed(passwords[user]) for user, its in table.items()],
        "vhosts": [{"name": vhost}],
        "permissions": [
            {"user": user, "configure": its.configure, "write": its.write, "read": its.read} | here
            for user, its in table.items()
        ],
        "topic_permissions": [
            {"user": user, "exchange": exchange, "write": write, "read": read} | here
            for user, its in table.items()
            for exchange, (write, read) in its.topics.items()
        ],
        "exchanges": [
            {"name": each.name, "type": each.type, "internal": False} | lasting | plain | here
            for each in topology.EXCHANGES
        ],
        "queues": [{"name": each.name, "arguments": each.arguments} | lasting | here for each in topology.QUEUES],
        "bindings": [
            {"source": exchange, "destination": each.name, "destination_type": "queue", "routing_key": key}
            | plain
            | here
            for each in topology.QUEUES
            for exchange, key in each.bindings
        ],
    }


def _hashed(password: str) -> dict[str, str]:
    """As RabbitMQ stores it: four bytes of salt, then SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    algorithm = "rabbit_password_hashing_sha256"
    return {"password_hash": base64.b64encode(salt + digest).decode(), "hashing_algorithm": algorithm}
