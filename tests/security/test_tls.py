"""Encryption with a wrong certificate, or none where there should be one: no sign-in and not one DATA."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from pydantic import SecretStr

from email_service.outcome import Verdict
from email_service.worker import Worker
from shared import topology
from shared.amqp import Publisher, properties
from shared.amqp_link import parse
from tests.support.mailroom import Rig, command, settings
from tests.support.smtp_server import SmtpServer
from tests.support.waiting import eventually

US = "localhost"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def certified(authority: trustme.CA, what: str) -> ssl.SSLContext | None:
    """The server's side: good, wrong authority, wrong name, stripped."""
    if what == "stripped":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer = trustme.CA() if what == "wrong authority" else authority
    signer.issue_cert("elsewhere.example" if what == "wrong name" else US).configure_cert(context)
    return context


WRONG = ["wrong authority", "wrong name", "stripped"]


@pytest.fixture
async def rig(amqp_url: str) -> AsyncIterator[Rig]:
    async with Rig(amqp_url) as rig:
        yield rig


@contextlib.asynccontextmanager
async def worker(rig: Rig, tmp_path: Path, url: str, ca_file: Path) -> AsyncIterator[Worker]:
    made = Worker(
        settings(tmp_path, amqp_url=rig.amqp_url, smtp_url=SecretStr(url), smtp_ca_file=ca_file, probe_seconds=0.05),
        1,
    )
    await made.start()
    await asyncio.wait_for(made.wait_ready(), 30)
    try:
        yield made
    finally:
        await made.stop()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("what", WRONG)
async def test_no_letter_reaches_a_mail_server_that_is_not_who_it_says(
    rig: Rig, authority: trustme.CA, ca_file: Path, tmp_path: Path, what: str, tls: str
) -> None:
    """Several letters, several probes: nothing is said but hello, and every letter is still ours afterwards."""
    context = certified(authority, what)
    letters = [command() for _ in range(3)]
    async with SmtpServer(
        context=context, implicit_tls=tls == "implicit" and context is not None, users={"me": "secret"}
    ) as server:
        async with worker(rig, tmp_path, f"smtp://me:secret@{US}:{server.port}?tls={tls}", ca_file) as made:
            tries: list[Verdict | None] = []
            probe = made._transport.probe

            async def counted() -> Verdict | None:
                tries.append(await probe())
                return tries[-1]

            made._transport.probe = counted  # type: ignore[method-assign]
            await rig.send(*letters)

            async def probed() -> bool:
                return len(tries) > 3

            await eventually(probed, "the route is probed again and again")
        assert {verdict.pause for verdict in tries if verdict} == {"tls"}
        heard = [line.split(" ")[0] for line in server.lines()]
        assert set(heard) <= {"EHLO", "STARTTLS", "QUIT"} or tls == "implicit"
        for word in ("AUTH", "MAIL", "RCPT", "DATA"):
            assert server.lines(word) == []
        assert server.mails == []
    for letter in letters:
        assert set(rig.kinds(letter)) <= {"deferred"}
    assert await rig.depth(topology.DEAD_QUEUE) == 0


async def test_the_same_letter_goes_when_the_certificate_is_good(
    rig: Rig, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    letter = command()
    async with SmtpServer(context=certified(authority, "good"), users={"me": "secret"}) as server:
        async with worker(rig, tmp_path, f"smtp://me:secret@{US}:{server.port}?tls=starttls", ca_file):
            await rig.send(letter)
            await rig.until(letter, "accepted")
        assert [mail.tls for mail in server.mails] == [True]


# ---- the broker -----------------------------------------------------------------------------------------------


@dataclass
class Before:
    """Stands before a real broker and speaks TLS for it, or does not; counts what it was told in plain words."""

    broker_port: int
    context: ssl.SSLContext | None
    port: int = 0
    tries: int = 0
    told: bytes = b""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Before:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tries += 1
        with contextlib.suppress(OSError, ssl.SSLError), contextlib.closing(writer):
            if self.context is None:
                self.told += await reader.read(4096)
                return
            await writer.start_tls(self.context)
            back, forth = await asyncio.open_connection("127.0.0.1", self.broker_port)
            with contextlib.closing(forth):
                await asyncio.gather(self._pass(reader, forth, heard=True), self._pass(back, writer, heard=False))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bool) -> None:
        while chunk := await reader.read(65_536):
            if heard:
                self.told += chunk
            writer.write(chunk)
            await writer.drain()
        writer.close()


def through(before: Before, amqp_url: str, ca_file: Path) -> str:
    user, _, rest = amqp_url.removeprefix("amqp://").partition("@")
    return f"amqps://{user}@{US}:{before.port}{urlsplit('//' + rest).path}?cacertfile={ca_file}"


async def test_amqps_reaches_a_broker_whose_certificate_is_good(
    amqp_url: str, authority: trustme.CA, ca_file: Path
) -> None:
    async with Before(urlsplit(amqp_url).port or 0, certified(authority, "good")) as before:
        publisher = Publisher([through(before, amqp_url, ca_file)], "test")
        await publisher.start()
        await asyncio.wait_for(publisher.wait_connected(), 30)
        await publisher.publish(topology.COMMANDS, "send.bulk", b"{}", properties("mail.send.v1", "one"))
        await publisher.close()
    assert b"mail.cmd" in before.told


@pytest.mark.parametrize("what", WRONG)
async def test_amqps_says_nothing_to_any_other(
    amqp_url: str, authority: trustme.CA, ca_file: Path, what: str, short_pauses: None
) -> None:
    password = urlsplit(amqp_url).password or ""
    async with Before(urlsplit(amqp_url).port or 0, certified(authority, what)) as before:
        publisher = Publisher([through(before, amqp_url, ca_file)], "test")
        await publisher.start()

        async def tried() -> bool:
            return before.tries > 2

        await eventually(tried, "it tries again and again")
        assert not publisher.connected
        await publisher.close()
    assert b"AMQP" not in before.told
    assert password.encode() not in before.told
    if what != "stripped":
        assert before.told == b""


def test_a_url_cannot_leave_the_checks_out(tmp_path: Path, ca_file: Path) -> None:
    for query in (
        "ssl_options={'verify_mode':0}",
        "verify=verify_none",
        f"cacertfile={ca_file}&ssl_options=None",
        f"cacertfile={tmp_path}/none.pem",
        "cacertfile=",
        "heartbeat=0",
    ):
        with pytest.raises(ValueError, match=r"not known|cannot be read|needs a value") as refused:
            parse(f"amqps://me:canary@{US}/?{query}", "test")
        assert "canary" not in str(refused.value)
    with pytest.raises(ValueError, match="cacertfile= is for amqps"):
        parse(f"amqp://me:canary@{US}/?cacertfile={ca_file}", "test")
    parameters = parse(f"amqps://me:canary@{US}/%2f?cacertfile={ca_file}", "test")
    context = parameters.ssl_options.context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (parameters.ssl_options.server_hostname, parameters.port) == (US, 5671)
    assert parse(f"amqps://me:canary@{US}/", "test").ssl_options.context.verify_mode == ssl.CERT_REQUIRED
