"""Commands and settings for the mail room's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pika
from pydantic import SecretStr

from email_service.settings import MailRoomSettings
from email_service.worker import Worker
from shared import topology
from shared.amqp import Consumer, Delivery, Publisher, properties
from shared.contracts import AttemptStarted, Mailbox, Outcome, OutcomeBatch, SendCommand, decode, encode
from shared.ids import new_id
from shared.lanes import Lane
from tests.support.waiting import eventually

# shorter than the product's, and longer than a busy machine may stand still: see test_smtp.py for real timeouts
SHORT: dict[str, Any] = {
    "connect_seconds": 40,
    "greeting_seconds": 40,
    "command_seconds": 40,
    "data_seconds": 40,
    "dot_seconds": 40,
    "reset_seconds": 40,
    "lease_seconds": 100,
    "retry_scale": 0.005,
}


def settings(data_dir: Path, port: int = 1, **changes: Any) -> MailRoomSettings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "smtp_url": SecretStr(f"smtp://127.0.0.1:{port}?tls=none"),
        "helo_name": "room.example",
        "room": "north",
        "workers": 1,
        **SHORT,
    }
    return MailRoomSettings(**(values | changes))


def command(to: str | Mailbox = "ida@example.com", **changes: Any) -> SendCommand:
    now = datetime.now(UTC)
    delivery = new_id()
    values: dict[str, Any] = {
        "delivery": delivery,
        "generation": 0,
        "lane": Lane.normal,
        "to": to if isinstance(to, Mailbox) else Mailbox(to, "Ida Berg"),
        "sender": Mailbox("crm@posthaste.example", "Posthaste"),
        "subject": "Hello",
        "text": "Good morning.\n",
        "message_id": f"<{delivery}@posthaste.example>",
        "created_at": now,
        "expires_at": now + timedelta(hours=48),
        "message": new_id(),
    }
    return SendCommand(**(values | changes))


class Rig:
    """A broker's view of the mail room: commands in, outcomes out, and what lies in the queues."""

    def __init__(self, amqp_url: str) -> None:
        self.amqp_url = amqp_url
        self.outcomes: list[Outcome] = []
        self.started: list[AttemptStarted] = []
        self._publisher = Publisher([amqp_url], "test rig")
        self._consumer = Consumer([amqp_url], "test rig", topology.OUTCOMES_QUEUE, 500, self._hear)

    async def __aenter__(self) -> Rig:
        await self._publisher.start()
        await self._consumer.start()
        await asyncio.wait_for(self._publisher.wait_connected(), 30)
        await asyncio.wait_for(self._consumer.wait_connected(), 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()
        await self._publisher.close()

    async def send(self, *commands: SendCommand, **headers: Any) -> None:
        await asyncio.gather(
            *(
                self._publisher.publish(
                    topology.COMMANDS,
                    topology.lane_key(each.lane),
                    encode(each),
                    properties(each.TYPE, each.key, **({"x_attempt": 1} | headers)),
                )
                for each in commands
            )
        )

    async def send_raw(self, body: bytes, kind: str, message_id: str = "raw") -> None:
        await self._publisher.publish(topology.COMMANDS, "send.normal", body, properties(kind, message_id))

    async def _hear(self, delivery: Delivery) -> None:
        event = decode(delivery.properties.type, delivery.body)
        if isinstance(event, OutcomeBatch):
            self.outcomes.extend(event.outcomes)
        elif isinstance(event, AttemptStarted):
            self.started.append(event)
        delivery.ack()

    def of(self, command: SendCommand) -> list[Outcome]:
        return [each for each in self.outcomes if each.delivery == command.delivery]

    def kinds(self, command: SendCommand) -> list[str]:
        return [str(each.kind) for each in self.of(command)]

    async def until(self, command: SendCommand, *kinds: str) -> list[Outcome]:
        """Waits for exactly these outcomes, in this order."""

        async def reached() -> bool:
            return self.kinds(command) == list(kinds)

        await eventually(reached, f"outcomes {kinds}, so far {self.kinds(command)}")
        return self.of(command)

    async def depth(self, queue: str) -> int:
        """Messages ready, asked of the broker itself."""

        def ask() -> int:
            connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
            count: int = connection.channel().queue_declare(queue, passive=True).method.message_count
            connection.close()
            return count

        return await asyncio.to_thread(ask)

    async def until_depth(self, queue: str, count: int) -> None:
        async def reached() -> bool:
            return await self.depth(queue) == count

        await eventually(reached, f"{queue} holds {count}")

    async def until_empty(self) -> None:
        """Nothing waits in a lane or wait queue."""
        for queue in topology.QUEUES:
            if queue.name.startswith(("mail.send.", "mail.wait.")):
                await self.until_depth(queue.name, 0)

    async def dead(self) -> list[tuple[str, str]]:
        """(message_id, routing key) of all dead letters; they stay where they are."""

        def look() -> list[tuple[str, str]]:
            connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
            channel, found = connection.channel(), []
            while (got := channel.basic_get(topology.DEAD_QUEUE))[0] is not None:
                found.append((got[1].message_id, got[0].routing_key))
            connection.close()
            return found

        return await asyncio.to_thread(look)


@asynccontextmanager
async def starting(rig: Rig, port: int, data_dir: Path, **defaults: Any) -> AsyncIterator[Callable[..., Any]]:
    """Gives what starts a worker against rig and SMTP port; all of them are stopped at the end."""
    running: list[Worker] = []

    async def start(number: int = 1, **changes: Any) -> Worker:
        worker = Worker(settings(data_dir, port, amqp_url=rig.amqp_url, **defaults | changes), number)
        running.append(worker)
        await worker.start()
        await asyncio.wait_for(worker.wait_ready(), 30)
        return worker

    yield start
    for worker in running:
        await worker.stop()
