"""Celery, prefork, smtplib in a task.

Recommended: late acks with a prefetch of one for each process ("Reserve one task at a time"), quorum queues, one
process a core. Tuned: a prefetch of 128 for short tasks ("Prefetch Limits"), two processes a core, each with a kept
connection.
https://docs.celeryq.dev/en/stable/userguide/optimizing.html
"""

from __future__ import annotations

from collections.abc import Iterable

from celery import Celery

from bench.mailroom.peers.mail import compose
from bench.mailroom.peers.setup import AMQP_URL, CONNECTIONS, PREFETCH, QUEUE
from bench.mailroom.peers.smtp import Kept, send_once

app = Celery("mails", broker=AMQP_URL)
app.conf.update(
    task_default_queue=QUEUE,
    task_default_queue_type="quorum",
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=PREFETCH,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)
_kept = Kept()  # unconnected until the first task, so every process of the pool opens its own


@app.task
def send(to: str, name: str, subject: str, text: str, html: str) -> None:
    mail = compose(to, name, subject, text, html)
    if CONNECTIONS:
        _kept.send(mail)
    else:
        send_once(mail)


def enqueue(letters: Iterable[dict[str, str]]) -> None:
    for letter in letters:
        send.delay(**letter)
