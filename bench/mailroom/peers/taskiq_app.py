"""taskiq with taskiq-aio-pika, aiosmtplib in a task.

Recommended: its defaults, which are a quorum queue, acks when the result is saved, a prefetch of 10, two worker
processes and up to 100 tasks at once in each. Tuned: a pool of kept connections, a prefetch of 20,
no parsing of arguments, no log line a task.
https://taskiq-python.github.io/guide/cli.html
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from taskiq_aio_pika import AioPikaBroker, Queue

from bench.mailroom.peers.mail import compose
from bench.mailroom.peers.setup import AMQP_URL, CONNECTIONS, PREFETCH, QUEUE
from bench.mailroom.peers.smtp import Pool, asend_once

broker = AioPikaBroker(AMQP_URL, qos=PREFETCH, task_queues=[Queue(name=QUEUE)])
_pool = Pool(CONNECTIONS)


@broker.task
async def send(to: str, name: str, subject: str, text: str, html: str) -> None:
    mail = compose(to, name, subject, text, html)
    if CONNECTIONS:
        await _pool.send(mail)
    else:
        await asend_once(mail)


def enqueue(letters: Iterable[dict[str, str]]) -> None:
    async def kick() -> None:
        await broker.startup()
        rest = iter(letters)
        while some := list(itertools.islice(rest, 200)):
            await asyncio.gather(*(send.kiq(**letter) for letter in some))
        await broker.shutdown()

    asyncio.run(kick())
