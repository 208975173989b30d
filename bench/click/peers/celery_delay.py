"""FastAPI and Celery's delay(), which waits for the broker's confirm if it is told to; nothing is stored beside it.

A plain function, so FastAPI runs it in a thread: delay() would stop everybody else for as long as it takes.
"""

from __future__ import annotations

import os

from fastapi import FastAPI

from bench.click.peers.shapes import Letter, Taken
from bench.mailroom.peers import celery_app

if os.environ.get("BENCH_CONFIRM") != "1":
    celery_app.app.conf.broker_transport_options = {}

app = FastAPI()


@app.post("/api/v1/messages", status_code=202)
def send(letter: Letter) -> Taken:
    celery_app.send.delay(**letter.model_dump())
    return Taken()
