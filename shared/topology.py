"""Every exchange, queue and binding of the product, in one table.

Works the same on RabbitMQ 3.10 (Debian 12) and 4.x; docs/topology.md says why each argument is there.
"""

from dataclasses import dataclass, field
from typing import Any

from shared.lanes import Lane

COMMANDS = "mail.cmd"
EVENTS = "mail.evt"
CONTROL = "mail.ctl"
DEAD_LETTERS = "mail.dlx"

DEAD_QUEUE = "mail.dead.v1"
OUTCOMES_QUEUE = "crm.outcomes.v1"

OUTCOME_KEY = "outcome"
STARTED_KEY = "started"
HEARTBEAT_KEY = "heartbeat"

# -1 loses the message at its first requeue on 3.10, and no limit means 20 on 4.x; this means "never" on both
NO_DELIVERY_LIMIT = 1_000_000_000
LANE_MAX_MESSAGES = 200_000

WAIT_SECONDS = {"30s": 30, "2m": 120, "10m": 600, "30m": 1800, "1h": 3600, "4h": 14400}
# a message's own expiration carries the ±20 % jitter; the queue's TTL is the upper end of it
WAIT_JITTER = 0.2


@dataclass(frozen=True)
class Exchange:
    name: str
    type: str = "topic"


@dataclass(frozen=True)
class Queue:
    name: str
    bindings: tuple[tuple[str, str], ...]  # (exchange, routing key)
    arguments: dict[str, Any] = field(default_factory=dict)


def lane_queue(lane: Lane) -> str:
    return f"mail.send.{lane}.v1"


def lane_key(lane: Lane) -> str:
    return f"send.{lane}"


def wait_exchange(step: str) -> str:
    """The exchange and the queue of one waiting step bear the same name. step: a key of WAIT_SECONDS."""
    return f"mail.wait.{step}.v1"


def wait_step(seconds: float) -> str:
    """The longest step that is not longer than the wait, else the shortest."""
    fitting = [step for step, length in WAIT_SECONDS.items() if length <= seconds]
    return fitting[-1] if fitting else "30s"


def _lane(lane: Lane) -> Queue:
    return Queue(
        lane_queue(lane),
        ((COMMANDS, lane_key(lane)),),
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": DEAD_LETTERS,
            "x-dead-letter-routing-key": f"dead.{lane}",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-max-length": LANE_MAX_MESSAGES,
        },
    )


def _wait(step: str, seconds: int) -> Queue:
    return Queue(
        wait_exchange(step),
        ((wait_exchange(step), ""),),
        {
            "x-queue-type": "quorum",
            "x-message-ttl": round(seconds * (1 + WAIT_JITTER) * 1000),
            "x-dead-letter-exchange": COMMANDS,  # no dead-letter key: the lane's own key survives
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": NO_DELIVERY_LIMIT,
        },
    )


EXCHANGES: tuple[Exchange, ...] = (
    Exchange(COMMANDS),
    Exchange(EVENTS),
    Exchange(CONTROL),
    Exchange(DEAD_LETTERS),
    *(Exchange(wait_exchange(step), "fanout") for step in WAIT_SECONDS),
)

QUEUES: tuple[Queue, ...] = (
    *(_lane(lane) for lane in Lane),
    *(_wait(step, seconds) for step, seconds in WAIT_SECONDS.items()),
    Queue(
        DEAD_QUEUE,
        ((DEAD_LETTERS, "#"),),
        {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
    ),
    Queue(
        OUTCOMES_QUEUE,
        ((EVENTS, "#"),),
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": DEAD_LETTERS,
            "x-dead-letter-routing-key": "dead.event",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    ),
)
