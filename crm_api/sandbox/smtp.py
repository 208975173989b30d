"""The sandbox: an SMTP server on this machine that takes every mail and sends none on.

250 after the final dot means that the mail is on the disk. Mails that arrive together share one commit.
"""

import asyncio
import contextlib
import hashlib
import logging
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from aiosmtpd.smtp import SMTP, Envelope, Session

from crm_api.sandbox.mime import header_of, read_head
from crm_api.sandbox.scripts import Script, script_of
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.settings import MEGABYTE, CrmSettings
from shared.addresses import address_key
from shared.tasks import deaths, run_once
from shared.telemetry import mark_ready

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAME = "sandbox.posthaste.example"  # given, because looking the machine's own name up can take seconds
MAX_MAIL_BYTES = 64 * MEGABYTE
IDLE_SECONDS = 600  # longer than any client keeps a connection
GRACE_SECONDS = 5
MAX_CONNECTIONS = 500  # of more, the oldest is closed: a mail room has tens of them
MAX_RECIPIENTS = 1000  # of one mail; 100 have to be taken (RFC 5321, section 4.5.3.1.8)


class _Writer:
    """Stores mails in the order they came; those that wait for the disk together are committed together."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store
        self._connection = store.open()
        self._thread = ThreadPoolExecutor(1, "sandbox-writer")
        self._waiting: list[tuple[NewMail, asyncio.Future[int]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, mail: NewMail) -> int:
        """The mail's id, once it is on the disk."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((mail, done))
        if self._task is None:
            self._task = run_once(self._write(), "sandbox writer", vital=True)
        return await done

    async def run(self, work: object, *values: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *values)  # type: ignore[arg-type]

    async def _write(self) -> None:
        while batch := self._waiting:
            self._waiting = []
            mails = [mail for mail, _ in batch]
            try:
                ids = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._store.add, mails, self._connection
                )
            except Exception as problem:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(problem)
            else:
                for mail_id, (_, done) in zip(ids, batch, strict=True):
                    if not done.done():
                        done.set_result(mail_id)
        self._task = None

    async def close(self) -> None:
        if self._task:
            await self._task
        self._thread.shutdown()
        self._connection.close()


class Handler:
    def __init__(self, store: SandboxStore) -> None:
        self._store = store
        self._writer = _Writer(store)
        self._busy = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        script = script_of(address)
        if script.wait:
            await asyncio.sleep(script.wait)
        if script.refuse:
            return script.refuse
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self._busy += 1
        self.idle.clear()
        try:
            return await self._take(server, envelope)
        except sqlite3.Error as problem:
            log.error("a mail could not be stored: %s", problem)
            return "451 4.3.0 The sandbox could not store the mail"
        finally:
            self._busy -= 1
            if not self._busy:
                self.idle.set()

    async def _take(self, server: SMTP, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        scripts = {address: script_of(address) for address in envelope.rcpt_tos}
        if again := await self._deferred(scripts, content):
            return again
        kept = tuple(_plain(address) for address, script in scripts.items() if script.keep)
        mail_id = 0
        if kept:
            mail_id = await self._writer.add(NewMail(_plain(envelope.mail_from or ""), kept, content))
        if wait := max((script.wait_after for script in scripts.values()), default=0):
            await asyncio.sleep(wait)
        if any(script.hang_up for script in scripts.values()) and server.transport:
            server.transport.abort()  # type: ignore[attr-defined]  # what is written after it goes nowhere
        return f"250 2.0.0 OK: queued as {mail_id}"

    async def _deferred(self, scripts: dict[str, Script], content: bytes) -> str | None:
        for address, script in scripts.items():
            if script.defer:
                key = f"{address_key(address)} {_message_id(content)}"
                times = await self._writer.run(self._store.count_try, key)
                if isinstance(times, int) and times <= script.defer:
                    return f"451 4.7.1 This sandbox address asks to wait, time {times} of {script.defer}"
        return None

    async def close(self) -> None:
        await self._writer.close()


class _Connections:
    def __init__(self) -> None:
        self._open: dict[SMTP, None] = {}  # oldest first
        self._none = asyncio.Event()
        self._none.set()

    def add(self, connection: SMTP) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            if oldest.transport:
                oldest.transport.abort()  # type: ignore[attr-defined]
        self._open[connection] = None
        self._none.clear()

    def remove(self, connection: SMTP) -> None:
        self._open.pop(connection, None)
        if not self._open:
            self._none.set()

    async def close(self) -> None:
        for connection in list(self._open):
            if connection.transport:
                connection.transport.close()
        await self._none.wait()


class Server(SMTP):
    """Hangs up after a 421, as RFC 5321 (section 3.8) has it; knows its open connections."""

    line_length_limit = 1001

    def __init__(self, handler: Handler, connections: "_Connections") -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname=NAME,
            ident="Posthaste sandbox",
            timeout=IDLE_SECONDS,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
            loop=asyncio.get_running_loop(),
        )
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._connections.remove(self)

    async def push(self, status: str | bytes) -> None:
        line = status.encode("utf-8", "replace") if isinstance(status, str) else status
        await super().push(line)
        if line.startswith(b"421") and self.transport:
            self.transport.close()


def _plain(address: str) -> str:
    """aiosmtpd keeps bytes that are no UTF-8 as surrogates; a text column takes none."""
    return address.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _message_id(content: bytes) -> str:
    return header_of(read_head(content)[0], "Message-ID") or hashlib.sha256(content).hexdigest()


@contextlib.asynccontextmanager
async def serving(store: SandboxStore, port: int) -> AsyncIterator[int]:
    """The server, for as long as the block runs; yields the port it listens on (0 asks for a free one)."""
    handler = Handler(store)
    connections = _Connections()
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: Server(handler, connections), HOST, port, backlog=512
        )
    except OSError as problem:
        await handler.close()
        raise SystemExit(
            f"POSTHASTE_SANDBOX_SMTP_PORT: nobody can listen at {HOST}:{port}: {problem.strerror}."
        ) from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):  # a mail whose final dot has come gets its answer
            async with asyncio.timeout(GRACE_SECONDS):
                await handler.idle.wait()
        await connections.close()
        await handler.close()


async def run(settings: CrmSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = SandboxStore(settings.data_dir / SANDBOX_FILE)
    async with serving(store, settings.sandbox_smtp_port) as port:
        ready = mark_ready(settings, "sandbox")
        log.info("sandbox listens", extra={"host": HOST, "port": port})
        deaths().on_first(lambda _: stop.set())
        try:
            await stop.wait()
        finally:
            ready.unlink(missing_ok=True)
        lost = deaths().names
    log.info("sandbox stopped")
    if lost:
        sys.exit(f"The sandbox ended because it had lost a part: {lost[0]}")
