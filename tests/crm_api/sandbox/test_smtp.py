"""The sandbox's SMTP server, talked to by a real client."""

import asyncio
import contextlib
import os
import signal
import smtplib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from crm_api.sandbox.mail import read
from crm_api.sandbox.smtp import serving
from crm_api.sandbox.store import SANDBOX_FILE, SandboxStore
from local import leash
from tests.support.databases import ROOT
from tests.support.ports import free_port
from tests.support.waiting import eventually, wait_until

LETTER = b"Subject: Saplings\r\nMessage-ID: <1@example.com>\r\n\r\nThey leave on Thursday.\r\n"


@pytest.fixture
def store(tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / SANDBOX_FILE)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[aiosmtplib.SMTP]:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=30)
    await client.connect()
    try:
        yield client
    finally:
        client.close()


async def send(client: aiosmtplib.SMTP, to: str, letter: bytes = LETTER) -> aiosmtplib.SMTPResponse:
    await client.mail("crm@example.com")
    await client.rcpt(to)
    return await client.data(letter)


async def test_it_offers_what_a_mail_room_needs(store: SandboxStore) -> None:
    async with serving(store, 0) as port, connected(port) as client:
        await client.ehlo()
        assert {"size", "8bitmime", "smtputf8"} <= set(client.esmtp_extensions)
        assert "auth" not in client.esmtp_extensions


async def test_a_mail_is_stored_when_the_reply_comes_and_the_reply_names_it(store: SandboxStore) -> None:
    async with serving(store, 0) as port, connected(port) as client:
        reply = await send(client, "anna@example.com", LETTER + b"..a line with a dot\r\n")
        (mail,) = SandboxStore(store.path).list("anna@example.com")
        assert reply.code == 250
        assert reply.message.endswith(f"queued as {mail.id}")
        stored = store.get(mail.id)
        assert stored is not None
        assert stored.content == LETTER + b"..a line with a dot\r\n"


async def test_many_mails_over_many_kept_connections(store: SandboxStore) -> None:
    async with serving(store, 0) as port:

        async def one(number: int) -> None:
            async with connected(port) as client:
                for n in range(20):
                    await send(client, f"c{number}-{n}@example.com")

        await asyncio.gather(*(one(number) for number in range(25)))
    assert store.count() == 500
    assert len({mail.recipients[0] for mail in store.list(limit=1000)}) == 500


@pytest.mark.parametrize("local", ["smtp-550", "smtp-450", "smtp-550-5-1-1"])
async def test_a_refusal_comes_at_rcpt_and_the_connection_lives_on(store: SandboxStore, local: str) -> None:
    async with serving(store, 0) as port, connected(port) as client:
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
            await send(client, f"{local}@example.com")
        assert refused.value.code == int(local[5:8])
        assert ("5.1.1" in refused.value.message) == (local == "smtp-550-5-1-1")
        await client.rset()
        assert (await send(client, "anna@example.com")).code == 250
    assert store.count() == 1


async def test_after_421_the_server_hangs_up(store: SandboxStore) -> None:
    async with serving(store, 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<smtp-421@example.com>\r\nNOOP\r\n")
        said = await asyncio.wait_for(reader.read(), 30)
        assert said.splitlines()[-1].startswith(b"421 4.3.2")
        writer.close()


async def test_flaky_defers_each_message_as_often_as_it_says(store: SandboxStore) -> None:
    other = LETTER.replace(b"<1@", b"<2@")
    async with serving(store, 0) as port, connected(port) as client:
        for letter in (LETTER, other):
            for time in (1, 2):
                with pytest.raises(aiosmtplib.SMTPDataError) as deferred:
                    await send(client, "flaky-2@example.com", letter)
                assert deferred.value.code == 451
                assert f"time {time} of 2" in deferred.value.message
            assert (await send(client, "flaky-2@example.com", letter)).code == 250
    assert store.count() == 2


@pytest.mark.parametrize(("local", "kept"), [("drop", 0), ("drop-kept", 1)])
async def test_drop_hangs_up_after_the_dot_without_a_word(store: SandboxStore, local: str, kept: int) -> None:
    async with serving(store, 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n" + f"RCPT TO:<{local}@example.com>\r\n".encode())
        writer.write(b"DATA\r\n" + LETTER + b".\r\n")
        said = b""
        try:
            while some := await asyncio.wait_for(reader.read(1000), 30):
                said += some
        except ConnectionResetError:
            pass
        assert said.splitlines()[-1].startswith(b"354")
        writer.close()
        async with connected(port) as client:
            assert (await send(client, "anna@example.com")).code == 250
    assert store.count(f"{local}@example.com") == kept


async def test_slow_waits_where_it_says(store: SandboxStore) -> None:
    async with serving(store, 0) as port, connected(port) as client:
        await client.mail("crm@example.com")
        began = asyncio.get_running_loop().time()
        await client.rcpt("slow-1@example.com")
        assert asyncio.get_running_loop().time() - began >= 0.99
        await client.rset()
        await client.mail("crm@example.com")
        await client.rcpt("slow-dot-1@example.com")
        answer = asyncio.create_task(client.data(LETTER))
        while not await asyncio.to_thread(store.count):
            assert not answer.done()
            await asyncio.sleep(0.01)
        assert (await answer).code == 250
    assert store.count() == 1


async def test_international_addresses_are_taken(store: SandboxStore) -> None:
    async with serving(store, 0) as port, connected(port) as client:
        await client.mail("crm@example.com", options=["SMTPUTF8", "BODY=8BITMIME"], encoding="utf-8")
        await client.rcpt("μαρία@παράδειγμα.example", encoding="utf-8")
        assert (await client.data("Subject: Γειά\r\n\r\nΓειά\r\n".encode())).code == 250
    (mail,) = store.list("μαρία@παράδειγμα.example")
    stored = store.get(mail.id)
    assert stored is not None
    assert read(stored).text == "Γειά\n"


async def test_a_mail_under_way_gets_its_answer_when_the_sandbox_stops(store: SandboxStore) -> None:
    async with serving(store, 0) as port:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=30)
        await client.connect()
        await client.mail("crm@example.com")
        await client.rcpt("slow-dot-1@example.com")
        answer = asyncio.create_task(client.data(LETTER))
        await eventually(lambda: asyncio.to_thread(store.count), "the mail is stored")
    assert (await answer).code == 250
    client.close()


def test_the_process_says_when_it_is_ready_and_stops_clean(tmp_path: Path) -> None:
    port = free_port()
    env = os.environ | {"POSTHASTE_DATA_DIR": str(tmp_path), "POSTHASTE_SANDBOX_SMTP_PORT": str(port)}
    ready = tmp_path / "ready" / "sandbox"
    with leash.start([sys.executable, "-m", "crm_api", "sandbox"], env=env, cwd=ROOT) as process:
        wait_until(ready.exists, "the sandbox is ready")
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = "Hello", "crm@example.com", "anna@example.com"
        message.set_content("Hello")
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.send_message(message)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not ready.exists()
    assert SandboxStore(tmp_path / SANDBOX_FILE).count() == 1


async def test_who_holds_connections_keeps_nobody_out(store: SandboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_api.sandbox.smtp.MAX_CONNECTIONS", 5)
    async with serving(store, 0) as port:
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        async with connected(port) as client:
            assert (await send(client, "anna@example.com")).code == 250
        for reader, writer in lines[:7]:
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 30)  # until it is closed
            writer.close()
        for _, writer in lines[7:]:
            writer.close()


async def test_one_mail_has_so_many_recipients(store: SandboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_api.sandbox.smtp.MAX_RECIPIENTS", 3)
    async with serving(store, 0) as port, connected(port) as client:
        await client.mail("crm@example.com")
        for number in range(3):
            await client.rcpt(f"r{number}@example.com")
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
            await client.rcpt("one-more@example.com")
        assert refused.value.code == 452
