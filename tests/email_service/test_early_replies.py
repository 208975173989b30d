"""A reply that comes while the message is still being written: heard at once, and nothing more is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

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
