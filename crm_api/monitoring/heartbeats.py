"""Dispatch writes down who is alive: itself, and every worker whose heartbeat it hears over mail.ctl."""

import asyncio
import logging
import os
import socket
import time
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from crm_api.changes import announce
from crm_api.monitoring import alarms
from crm_api.monitoring.models import Process
from crm_api.writer import Writer
from shared.amqp import Publisher
from shared.clock import now
from shared.contracts import BadContract, Heartbeat, decode

log = logging.getLogger("heartbeats")

EVERY_SECONDS = 2.0
FORGOTTEN = timedelta(hours=24)
SILENT_SECONDS = 60.0  # then its row is written no more
MOST_WORKERS = 500  # who may speak at the broker can make up names: no more of them than any house has
MOST_ROWS = 1000
TOO_MANY = f"More than {MOST_WORKERS} workers say that they are alive. Further ones are not shown."
TOO_MANY_ADVICE = "If you have not so many, somebody who knows a mail room’s password at the broker makes them up."
COMPLAIN_SECONDS = 60.0  # a flood of what is not taken is one line in the log


class Heartbeats:
    def __init__(self, writer: Writer, publisher: Publisher) -> None:
        self._writer, self._publisher = writer, publisher
        self.name = f"dispatch {socket.gethostname()} {os.getpid()}"
        self._heard: dict[str, tuple[float, Heartbeat]] = {}
        self._complained = -COMPLAIN_SECONDS
        self._news = asyncio.Event()
        self._seen: object = None  # what people were last told

    def on_delivery(self, body: bytes) -> None:
        """What cannot be read is said, and is no reason to stop."""
        try:
            beat = decode(Heartbeat.TYPE, body)
        except BadContract as problem:
            self._complain("a heartbeat cannot be read: %s", problem)
            return
        assert isinstance(beat, Heartbeat)
        self.hear(beat)

    def hear(self, heartbeat: Heartbeat) -> None:
        name, at = f"{heartbeat.room}/{heartbeat.worker}", time.monotonic()
        _, known = self._heard.get(name, (0.0, None))
        if known is None and len(self._heard) >= MOST_WORKERS and not self._forget_silent(at):
            self._complain("there are more than %d workers: no further one is shown", MOST_WORKERS)
            alarms.raise_alarm("workers", TOO_MANY, TOO_MANY_ADVICE)
            return
        if known is None or heartbeat.stopping or _shown(known) != _shown(heartbeat):
            self._news.set()
        self._heard[name] = at, heartbeat

    def _forget_silent(self, at: float) -> int:
        silent = [name for name, (heard, _) in list(self._heard.items()) if heard < at - SILENT_SECONDS]
        for name in silent:
            self._heard.pop(name, None)
        return len(silent)

    def _complain(self, words: str, what: object) -> None:
        if time.monotonic() >= self._complained + COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.error(words, what)

    @property
    def broker(self) -> str:
        if not self._publisher.connected:
            return "down"
        return "blocked" if self._publisher.blocked else "up"

    async def run(self) -> None:
        while True:
            try:
                await self._writer.do(self._write)
            except SQLAlchemyError as problem:
                log.warning("heartbeats wait for the database: %s", problem)
            known = self.broker, alarms.own()
            for _ in range(int(EVERY_SECONDS / 0.1)):
                if self._news.is_set() or (self.broker, alarms.own()) != known:
                    break
                await asyncio.sleep(0.1)
            self._news.clear()

    async def leave(self) -> None:
        """The last words of this process."""
        await self._writer.do(lambda session: _forget(session, self.name))

    def _write(self, session: Session) -> None:
        at = now()
        self._forget_silent(time.monotonic())
        if len(self._heard) < MOST_WORKERS:
            alarms.clear("workers")
        own = alarms.to_data(alarms.own())
        figures: dict[str, Any] = {"broker": self.broker, "pid": os.getpid(), "alarms": own}
        rows = [Process(name=self.name, kind="dispatch", seen_at=at, data=figures)]
        for name, (_, heartbeat) in list(self._heard.items()):
            if heartbeat.stopping:
                _forget(session, name)
                self._heard.pop(name, None)
            else:
                data: dict[str, Any] = msgspec.to_builtins(heartbeat)
                rows.append(Process(name=name, kind="worker", seen_at=min(at, heartbeat.at), data=data))
        for row in rows:
            session.merge(row)
        session.execute(delete(Process).where(col(Process.seen_at) < at - FORGOTTEN))
        if len(rows) > MOST_WORKERS // 2:  # names that change faster than they are forgotten
            session.flush()
            newest = select(Process.name).order_by(col(Process.seen_at).desc()).limit(MOST_ROWS)
            session.execute(delete(Process).where(col(Process.name).not_in(newest)))
        shown = (self.broker, own, sorted((name, _shown(beat)) for name, (_, beat) in list(self._heard.items())))
        if shown != self._seen:
            self._seen = shown
            announce(session, "system")


def _shown(heartbeat: Heartbeat) -> tuple[str, list[str]]:
    """What of it people are told at once."""
    return heartbeat.route_state, [f"{alarm.kind} {alarm.sentence} {alarm.advice}" for alarm in heartbeat.alarms]


def _forget(session: Session, name: str) -> None:
    session.execute(delete(Process).where(col(Process.name) == name))
    announce(session, "system")
