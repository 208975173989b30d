"""A server that takes mail or does not, transports to it, and a broker's view of the mail room."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from pydantic import SecretStr

from email_service.transports.addresses import Resolve, resolve
from email_service.transports.smtp import SmtpTransport
from tests.support.mailroom import Rig, settings
from tests.support.smtp_server import SmtpServer


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The product runs on uvloop. The two differ in what they do with what is unread when a write fails."""
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    wanted = {"test_early_replies.py": ("asyncio", "uvloop"), "test_replies.py": ("uvloop",)}
    return {name: loops[name] for name in wanted.get(item.path.name, ("asyncio",))}


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def transport_to(tmp_path: Path) -> AsyncIterator[Callable[..., SmtpTransport]]:
    made: list[SmtpTransport] = []

    def make(
        server: SmtpServer, query: str = "tls=none", user: str = "", resolve: Resolve = resolve, **changes: Any
    ) -> SmtpTransport:
        url = SecretStr(f"smtp://{user}localhost:{server.port}{query and f'?{query}'}")
        transport = SmtpTransport(settings(tmp_path, **({"smtp_url": url} | changes)), resolve)
        transport.start()
        made.append(transport)
        return transport

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def rig(amqp_url: str) -> AsyncIterator[Rig]:
    async with Rig(amqp_url) as rig:
        yield rig
