"""A server that takes mail or does not, and a broker's view of the mail room."""

from collections.abc import AsyncIterator

import pytest

from tests.support.mailroom import Rig
from tests.support.smtp_server import SmtpServer


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def rig(amqp_url: str) -> AsyncIterator[Rig]:
    async with Rig(amqp_url) as rig:
        yield rig
