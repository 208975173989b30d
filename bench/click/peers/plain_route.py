"""A FastAPI route as its documentation shows it, which checks the finished letter and answers."""

from __future__ import annotations

from fastapi import FastAPI

from bench.click.peers.shapes import Letter, Taken

app = FastAPI()


@app.post("/api/v1/messages", status_code=202)
async def send(letter: Letter) -> Taken:
    return Taken()
