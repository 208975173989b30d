"""Posthaste's own part: commands into the bulk lane, and what must be true when they have been sent."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pika

from bench.mailroom.letters import commands
from shared.amqp import Publisher, properties
from shared.contracts import OutcomeBatch, SendCommand, decode, encode
from shared.lanes import Lane
from shared.topology import COMMANDS, OUTCOMES_QUEUE, lane_key, lane_queue

COMMAND = (sys.executable, "-m", "email_service")
TOGETHER = 1000  # publishes awaited at once; the publisher's window is smaller


def enqueue(amqp_url: str, count: int) -> None:
    """Declares the real topology and fills the bulk lane, confirmed."""
    asyncio.run(_publish(amqp_url, count))


async def _publish(amqp_url: str, count: int) -> None:
    publisher = Publisher([amqp_url], "bench producer")
    await publisher.start()
    async with asyncio.timeout(60):
        await publisher.wait_connected()
    seen = int(time.time())
    for some in _chunks(commands(count)):
        await asyncio.gather(
            *(
                publisher.publish(
                    COMMANDS,
                    lane_key(Lane.bulk),
                    encode(command),
                    properties(
                        SendCommand.TYPE,
                        command.key,
                        x_attempt=1,
                        x_first_seen=seen,
                        traceparent=f"00-{command.message.hex}-{command.delivery.hex[16:]}-01",
                    ),
                )
                for command in some
            )
        )
    await publisher.close()


def _chunks(found: Iterator[SendCommand]) -> Iterator[list[SendCommand]]:
    while some := list(itertools.islice(found, TOGETHER)):
        yield some


def check(amqp_url: str, ledger: Path, count: int) -> str:
    """Call it when the mail room has ended. Empties the outcomes queue; raises AssertionError if anything is amiss.

    Returns a sentence for the notes.
    """
    states = _ledger_states(ledger)
    assert states == {"accepted": count}, f"the ledger should have {count} accepted and nothing else: {states}"
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        left = _depth(channel, lane_queue(Lane.bulk))
        assert left == 0, f"{left} commands are back in the lane"
        events = _depth(channel, OUTCOMES_QUEUE)
        reported = Counter[str]()
        deliveries = set[UUID]()
        for _ in range(events):
            _, given, body = channel.basic_get(OUTCOMES_QUEUE, auto_ack=True)
            event = decode(given.type, body)
            if isinstance(event, OutcomeBatch):
                reported.update(str(outcome.kind) for outcome in event.outcomes)
                deliveries.update(outcome.delivery for outcome in event.outcomes)
    finally:
        connection.close()
    assert reported == {"accepted": count}, f"{count} accepted should have been reported: {reported}"
    assert len(deliveries) == count, f"outcomes of {len(deliveries)} deliveries instead of {count}"
    return f"{count:,} accepted in the ledger and reported, confirmed, in {events:,} events"


def _ledger_states(ledger: Path) -> dict[str, int]:
    with sqlite3.connect(ledger) as database:
        return dict(database.execute("SELECT state, count(*) FROM attempt GROUP BY state").fetchall())


def _depth(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)
