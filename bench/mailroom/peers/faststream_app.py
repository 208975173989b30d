"""FastStream, aiosmtplib in a subscriber.

Recommended: a quorum queue, a nack on errors, a prefetch of 10 as in its page on prefetch, a process a core.
Tuned: a pool of kept connections and a prefetch of 20, which is also how many letters are in hand at once; with more
of them it gets slower.
https://faststream.ag2.ai/latest/rabbit/prefetch/
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from bench.mailroom.peers.mail import compose
from bench.mailroom.peers.setup import AMQP_URL, CONNECTIONS, PREFETCH, QUEUE
from bench.mailroom.peers.smtp import Pool, asend_once

broker = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH))
app = FastStream(broker)
queue = RabbitQueue(QUEUE, durable=True, queue_type=QueueType.QUORUM)
_pool = Pool(CONNECTIONS)


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def send(to: str, name: str, subject: str, text: str, html: str) -> None:
    mail = compose(to, name, subject, text, html)
    if CONNECTIONS:
        await _pool.send(mail)
    else:
        await asend_once(mail)


def enqueue(letters: Iterable[dict[str, str]]) -> None:
    async def publish() -> None:
        async with broker:
            await broker.declare_queue(queue)
            rest = iter(letters)
            while some := list(itertools.islice(rest, 200)):
                await asyncio.gather(*(broker.publish(dict(letter), queue, persist=True) for letter in some))

    asyncio.run(publish())
