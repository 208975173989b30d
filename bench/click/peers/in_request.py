"""FastAPI and aiosmtplib, as its documentation shows it: the request waits for the mail."""

from __future__ import annotations

from fastapi import FastAPI

from bench.click.peers.shapes import Letter, Taken
from bench.mailroom.peers.mail import compose
from bench.mailroom.peers.smtp import asend_once

app = FastAPI()


@app.post("/api/v1/messages", status_code=202)
async def send(letter: Letter) -> Taken:
    await asend_once(compose(letter.to, letter.name, letter.subject, letter.text, letter.html))
    return Taken()
