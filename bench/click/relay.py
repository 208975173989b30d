"""A relay before an SMTP server: every reply comes so much later, as from a server that is far away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from local import ports


@contextlib.contextmanager
def relay(port: int, delay_seconds: float) -> Iterator[int]:
    """The port of the relay; it runs in a thread of this process."""
    listening = ports.free_port()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(_listen(listening, port, delay_seconds))
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(listening: int, port: int, delay_seconds: float) -> asyncio.Server:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_copy(reader, their_writer, 0.0), _copy(their_reader, writer, delay_seconds))

    return await asyncio.start_server(accept, "127.0.0.1", listening)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    while data := await reader.read(65_536):
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        writer.write(data)
    writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
