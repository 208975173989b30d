"""Outcome events as a mail room would report them."""

from datetime import timedelta
from typing import Any

from crm_api.messages.models import Delivery
from shared.clock import now
from shared.contracts import Outcome, OutcomeKind, TalkLine
from shared.lanes import Lane


def outcome_of(delivery: Delivery, /, **members: Any) -> Outcome:
    at = now()
    usual: dict[str, Any] = {
        "delivery": delivery.id,
        "generation": delivery.generation,
        "attempt": 1,
        "lane": Lane(delivery.lane),
        "kind": OutcomeKind.accepted,
        "phase": "dot",
        "reason": "Their server has taken it.",
        "worker": "north/1",
        "host": "north.example",
        "received_at": at - timedelta(milliseconds=20),
        "started_at": at - timedelta(milliseconds=10),
        "finished_at": at,
        "server": "mx.example:25",
        "code": 250,
        "talk": (TalkLine(0, "them", "220 mx.example"), TalkLine(9, "them", "250 ok")),
    }
    return Outcome(**(usual | members))
