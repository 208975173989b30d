"""Sending, without asyncio and with it: a connection a mail, as most people do it, or kept ones when tuned."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
from email.message import EmailMessage

import aiosmtplib

from bench.mailroom.peers.setup import HELO, SMTP_PORT

HOST = "127.0.0.1"


def send_once(mail: EmailMessage) -> None:
    with smtplib.SMTP(HOST, SMTP_PORT, local_hostname=HELO) as server:
        server.send_message(mail)


class Kept:
    """One connection, for one thread or process. After an error the next mail opens a new one."""

    def __init__(self) -> None:
        self._server: smtplib.SMTP | None = None

    def send(self, mail: EmailMessage) -> None:
        try:
            if self._server is None:
                self._server = smtplib.SMTP(HOST, SMTP_PORT, local_hostname=HELO)
            self._server.send_message(mail)
        except (OSError, smtplib.SMTPException):
            self._server = None
            raise  # the framework tries the task again


async def asend_once(mail: EmailMessage) -> None:
    await aiosmtplib.send(mail, hostname=HOST, port=SMTP_PORT, local_hostname=HELO)


class Pool:
    """Connections of one event loop; who finds all of them busy waits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: asyncio.LifoQueue[aiosmtplib.SMTP] = asyncio.LifoQueue()
        self._made = 0

    async def send(self, mail: EmailMessage) -> None:
        server = await self._take()
        try:
            if not server.is_connected:
                await server.connect()
            await server.send_message(mail)
        except BaseException:
            with contextlib.suppress(Exception):
                server.close()
            raise
        finally:
            self._free.put_nowait(server)

    async def _take(self) -> aiosmtplib.SMTP:
        if self._free.empty() and self._made < self._size:
            self._made += 1
            return aiosmtplib.SMTP(hostname=HOST, port=SMTP_PORT, local_hostname=HELO)
        return await self._free.get()
