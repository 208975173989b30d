"""One message over the mail room's SMTP transport, as its tests send it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import trustme

from email_service.compose import Letter
from email_service.transports.smtp import Conversation, SmtpTransport

LETTER = Letter("crm@posthaste.example", "ida@example.com", b"Subject: Hi\r\n\r\n..dot\r\nbye\r\n")
LARGE = replace(LETTER, content=b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 130_000)  # 9 MB
QUICK = {
    "connect_seconds": 0.5,
    "greeting_seconds": 0.5,
    "command_seconds": 0.5,
    "data_seconds": 0.5,
    "dot_seconds": 0.5,
}


async def send(transport: SmtpTransport, letter: Letter = LETTER, claims: list[str] | None = None) -> Conversation:
    async def claim() -> None:
        if claims is not None:
            claims.append(letter.recipient)

    return await asyncio.wait_for(transport.send(letter, claim, lambda: True), 30)


def certified(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
