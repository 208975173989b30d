"""A reply that comes while the message is still being written: heard at once, and nothing more is written."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from email_service.transports.lines import Lines
from email_service.transports.smtp import SmtpTransport
from tests.support.smtp_client import LARGE, LETTER, certified, send
from tests.support.smtp_server import Answer, SmtpServer


@pytest.mark.parametrize("how", [{"close": True}, {"abort": True}, {"half": True}, {}], ids=str)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("552 5.3.4 Too big", "failed"),
        ("554 5.7.1 Not this", "failed"),
        ("451 4.3.0 Disk full", "deferred"),
        ("421 4.3.2 Going down", "deferred"),
    ],
)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_a_refusal_in_the_middle_of_a_large_message_is_heard_at_once(
    transport_to: Callable[..., SmtpTransport],
    authority: trustme.CA,
    ca_file: Path,
    encrypted: bool,
    text: str,
    kind: str,
    how: dict[str, Any],
) -> None:
    context = certified(authority) if encrypted else None
    async with SmtpServer(context=context, extensions=("PIPELINING",)) as server:
        server.answer("content", Answer(text, after=300_000, **how), always=True)
        tls = {"query": "tls=starttls", "smtp_ca_file": ca_file} if encrypted else {}
        transport = transport_to(server, **tls)
        conversation = await send(transport, LARGE)
        verdict = conversation.verdict
        assert (verdict.kind, verdict.phase, verdict.code) == (kind, "data", int(text[:3]))
        assert verdict.suppress is False
        assert verdict.slow_down == text.startswith("421")
        assert not any(line.text == "." for line in conversation.talk.lines)  # it was broken off
        assert server.mails == []
        server.behave()
        assert (await send(transport)).verdict.kind == "accepted"
        assert len(server.conversations) == 2


@pytest.mark.parametrize("content", [LETTER.content, LARGE.content], ids=["small", "large"])
async def test_a_refusal_that_comes_with_the_go_ahead(
    server: SmtpServer, transport_to: Callable[..., SmtpTransport], content: bytes
) -> None:
    server.answer("data", Answer(raw=b"354 Go on\r\n554 5.7.1 Or rather not\r\n", close=True))
    transport = transport_to(server)
    verdict = (await send(transport, replace(LETTER, content=content))).verdict
    assert (verdict.kind, verdict.code) == ("failed", 554)
    assert (await send(transport)).verdict.kind == "accepted"


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_what_lies_in_the_socket_when_a_write_fails_is_read(
    authority: trustme.CA, ca_file: Path, encrypted: bool
) -> None:
    """The refusal and the reset both arrive while we are busy, so that the first thing that we do is to write."""
    ready, gone = threading.Event(), threading.Event()

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the reset overtakes the refusal
        if encrypted:
            connection = certified(authority).wrap_socket(connection, server_side=True)
        ready.wait()
        connection.sendall(b"552 5.3.4 Too big\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse, args=(listener,))
        server.start()
        lines = Lines()
        await asyncio.get_running_loop().create_connection(lambda: lines, *listener.getsockname())
        if encrypted:
            await lines.start_tls(ssl.create_default_context(cafile=str(ca_file)), "localhost", 30)
        ready.set()
        gone.wait(30)  # blocks the loop, and means to
        lines.write(b"x" * 1000)
        assert (await lines.reply(30))[0] == 552
        assert not lines.is_open
        server.join()
