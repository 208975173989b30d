"""Dramatiq, smtplib in an actor.

Recommended: what the command line starts by itself, a process a core with 8 threads each and a prefetch of twice
the threads; acks after the work are its nature. Tuned: a kept connection in each thread, fewer threads, more prefetch.
https://dramatiq.io/guide.html, https://dramatiq.io/advanced.html
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.mailroom.peers.mail import compose
from bench.mailroom.peers.setup import AMQP_URL, CONNECTIONS, QUEUE
from bench.mailroom.peers.smtp import Kept, send_once

dramatiq.set_broker(RabbitmqBroker(url=AMQP_URL, confirm_delivery=True))


class _Mine(threading.local):
    def __init__(self) -> None:
        self.kept = Kept()


_mine = _Mine()


@dramatiq.actor(queue_name=QUEUE)
def send(to: str, name: str, subject: str, text: str, html: str) -> None:
    mail = compose(to, name, subject, text, html)
    if CONNECTIONS:
        _mine.kept.send(mail)
    else:
        send_once(mail)


def enqueue(letters: Iterable[dict[str, str]]) -> None:
    for letter in letters:
        send.send(**letter)
