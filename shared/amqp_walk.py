"""Looking through a queue without emptying it, and asking how deep queues are; use it through shared.amqp."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pika import BasicProperties
from pika.exceptions import ChannelClosedByClient

from shared.amqp_link import FAILURES, Channel, Connection, LinkDown, parse

IDLE_SECONDS = 2  # no further message came: the queue has no more to give
MAX_WORD = 200  # characters of what others name
ANSWER_SECONDS = 20  # a frozen broker does not answer, and its link is given up only later


@dataclass(frozen=True, slots=True)
class Found:
    """A message as it lies in a queue. key: its message_id, or its body's hash if it has none. died_*: why and when
    its broker dead-lettered it (rejected, delivery_limit, expired, maxlen)."""

    key: str
    type: str
    routing_key: str
    size: int  # bytes of the body
    died_of: str = ""
    died_at: datetime | None = None


async def depths(urls: Sequence[str], queues: Sequence[str]) -> dict[str, int]:
    """Messages ready in each queue; those with a consumer, unacked, are not among them. Raises LinkDown."""
    connection = await _connect(urls, "depths")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            channel = await Channel.open(connection)
            return {
                queue: (await channel.do("queue_declare", queue=queue, passive=True)).method.message_count
                for queue in queues
            }
    except TimeoutError:
        raise LinkDown("the broker does not answer") from None
    finally:
        await connection.close()


async def remove_from_queue(urls: Sequence[str], queue: str, keys: set[str]) -> set[str]:
    """Takes the messages with these keys (see Found) out of a queue and returns the keys that were there."""
    return {found.key for found in await walk_queue(urls, queue, lambda found: found.key in keys) if found.key in keys}


async def walk_queue(urls: Sequence[str], queue: str, take: Callable[[Found], bool] = lambda _: False) -> list[Found]:
    """All messages of a queue, in its order; those that `take` says yes to are taken out, the rest are returned.

    Looks at as many messages as the queue held at the start. Raises LinkDown.
    """
    connection = await _connect(urls, "walk a queue")
    try:
        return await _walk(connection, queue, take)
    finally:
        await connection.close()


async def _connect(urls: Sequence[str], name: str) -> Connection:
    problem: Exception = LinkDown("no URL")
    for url in urls:
        try:
            return await Connection.open(parse(url, name))
        except FAILURES as failure:
            problem = failure
    raise LinkDown(str(problem)) from problem


async def _walk(connection: Connection, queue: str, take: Callable[[Found], bool]) -> list[Found]:
    channel = await Channel.open(connection)
    declared = await channel.do("queue_declare", queue=queue, passive=True)
    left: int = declared.method.message_count
    if not left:
        return []
    seen: list[Found] = []
    arrived: asyncio.Queue[tuple[int, Found]] = asyncio.Queue()
    await channel.do("basic_qos", prefetch_count=0)  # no limit: the count is 16 bits, the queue may be longer
    await channel.do(
        "basic_consume",
        queue=queue,
        on_message_callback=lambda _raw, method, properties, body: arrived.put_nowait(
            (method.delivery_tag, _found(method.routing_key, properties, body))
        ),
    )
    while left:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                tag, found = await arrived.get()
        except TimeoutError:  # somebody else has taken some meanwhile
            break
        left -= 1
        if take(found):
            if channel.closed.done():
                break
            channel.raw.basic_ack(tag)
        seen.append(found)
    await channel.close()  # returns what was not acked, and says that the acks have arrived
    if not channel.closed.done() or not isinstance(channel.closed.result(), ChannelClosedByClient):
        raise LinkDown("the link was lost before the queue had given the messages away")
    return seen


def key_of(properties: BasicProperties, body: bytes) -> str:
    """As Found.key. Foreign properties hold whatever their sender likes; this can be stored anywhere."""
    named: object = properties.message_id
    if isinstance(named, str) and named and "\0" not in named and named.isprintable():
        return named
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _plain(text: object) -> str:
    """What came from outside, fit for a column and a page."""
    shown = text if isinstance(text, str) else "" if text is None else repr(text)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)[:MAX_WORD]


def _found(routing_key: str, properties: BasicProperties, body: bytes) -> Found:
    deaths = (properties.headers or {}).get("x-death")
    last: dict[str, Any] = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    died_at = last.get("time")
    if isinstance(died_at, datetime) and died_at.tzinfo is None:
        died_at = died_at.replace(tzinfo=UTC)
    return Found(
        key=key_of(properties, body),
        type=_plain(properties.type),
        routing_key=_plain(routing_key),
        size=len(body),
        died_of=_plain(last.get("reason")),
        died_at=died_at if isinstance(died_at, datetime) else None,
    )
