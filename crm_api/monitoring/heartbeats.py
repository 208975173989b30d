"""Dispatch writes down who is alive: itself, and every worker whose heartbeat it hears over mail.ctl."""

import asyncio
import logging
import os
import socket
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from crm_api.changes import announce
from crm_api.monitoring import alarms
from crm_api.monitoring.models import Process
from crm_api.writer import Writer
from shared.amqp import Publisher
from shared.clock import now
from shared.contracts import Heartbeat

log = logging.getLogger("heartbeats")

EVERY_SECONDS = 2.0
FORGOTTEN = timedelta(hours=24)


class Heartbeats:
    def __init__(self, writer: Writer, publisher: Publisher) -> None:
        self._writer, self._publisher = writer, publisher
        self.name = f"dispatch {socket.gethostname()} {os.getpid()}"
        self._heard: dict[str, Heartbeat] = {}
        self._news = asyncio.Event()
        self._seen: object = None  # what people were last told

    def hear(self, heartbeat: Heartbeat) -> None:
        name = f"{heartbeat.room}/{heartbeat.worker}"
        known = self._heard.get(name)
        if known is None or heartbeat.stopping or _shown(known) != _shown(heartbeat):
            self._news.set()
        self._heard[name] = heartbeat

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
        own = alarms.to_data(alarms.own())
        figures: dict[str, Any] = {"broker": self.broker, "pid": os.getpid(), "alarms": own}
        rows = [Process(name=self.name, kind="dispatch", seen_at=at, data=figures)]
        for name, heartbeat in list(self._heard.items()):
            if heartbeat.stopping:
                _forget(session, name)
                del self._heard[name]
            else:
                data: dict[str, Any] = msgspec.to_builtins(heartbeat)
                rows.append(Process(name=name, kind="worker", seen_at=min(at, heartbeat.at), data=data))
        for row in rows:
            session.merge(row)
        session.execute(delete(Process).where(col(Process.seen_at) < at - FORGOTTEN))
        shown = (self.broker, own, sorted((name, _shown(beat)) for name, beat in self._heard.items()))
        if shown != self._seen:
            self._seen = shown
            announce(session, "system")


def _shown(heartbeat: Heartbeat) -> tuple[str, list[str]]:
    """What of it people are told at once."""
    return heartbeat.route_state, [f"{alarm.kind} {alarm.sentence} {alarm.advice}" for alarm in heartbeat.alarms]


def _forget(session: Session, name: str) -> None:
    session.execute(delete(Process).where(col(Process.name) == name))
    announce(session, "system")
