"""What the broker lacks, or does not let us do, and none of its users with few rights can mend: said to people.

A process whose user may declare heals a deleted queue by itself and never comes here (shared/broker_rights.py).
"""

from shared import topology
from shared.alarms import Alarms

COMMAND = "python -m crm_api broker"
_RUN = (
    f"Run “{COMMAND}”, with POSTHASTE_BROKER_ADMIN_URL and the users’ passwords: it makes what is missing, gives the "
    "users their rights anew, and changes nothing else."
)
_RIGHTS = "broker-rights"


def queue_is_missing(alarms: Alarms, queue: str) -> None:
    alarms.raise_alarm(
        f"queue {queue}",
        f"The broker has no queue {queue}: somebody has deleted it.",
        f"No running part may make it. {_RUN} Nothing is lost: what belongs there waits, or is requeued.",
    )


def queue_is_there(alarms: Alarms, queue: str) -> None:
    alarms.clear(f"queue {queue}")


def may_not_compare(alarms: Alarms) -> None:
    alarms.raise_alarm(
        _RIGHTS,
        "The broker does not let dispatch ask how long its queues are, so nothing is reconciled.",
        f"The broker’s users were made for an older RabbitMQ. {_RUN}",
    )


def may_compare(alarms: Alarms) -> None:
    alarms.clear(_RIGHTS)


def queue_behind(exchange: str, key: str) -> str:
    """The queue that messages with this key go to."""
    bound = (queue.name for queue in topology.QUEUES if (exchange, key) in queue.bindings)
    return next(bound, f"behind {exchange}")
