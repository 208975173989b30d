"""An SMTP server that keeps every byte, and takes for the end of a letter whatever any server has ever taken for it.

The one that is behind a careless one sees what the careless one lets through: a second letter in it means that the
first was smuggled (CVE-2023-51764 and its kin).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

ENDS = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")
NEWLINE = re.compile(rb"\r\n|\r|\n")


@dataclass
class ByteServer:
    """pipelining: offered in EHLO."""

    pipelining: bool = False
    port: int = 0
    heard: bytes = b""  # all that came, on all connections
    commands: list[bytes] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)  # after DATA, up to what ended it
    _server: asyncio.Server | None = None
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> ByteServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        if self._talks:
            await asyncio.wait(self._talks, timeout=5)  # their clients have hung up

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            writer.write(b"220 careless.example ESMTP\r\n")
            rest, in_data = b"", False
            while chunk := await reader.read(65_536):
                self.heard += chunk
                rest += chunk
                while True:
                    if in_data:
                        if not (end := ENDS.search(rest)):
                            break
                        self.mails.append(rest[: end.start()])
                        rest, in_data = rest[end.end() :], False
                        writer.write(b"250 2.0.0 Ok: queued as BYTES\r\n")
                        continue
                    if not (newline := NEWLINE.search(rest)):
                        break
                    line, rest = rest[: newline.start()], rest[newline.end() :]
                    in_data = bool(line) and self._command(line, writer)
                await writer.drain()

    def _command(self, line: bytes, writer: asyncio.StreamWriter) -> bool:
        self.commands.append(line)
        word = line[:4].upper()
        if word == b"EHLO":
            offers = [b"careless.example", b"8BITMIME", b"SMTPUTF8", *[b"PIPELINING"] * self.pipelining]
            lines = [b"250" + (b" " if offer is offers[-1] else b"-") + offer + b"\r\n" for offer in offers]
            writer.write(b"".join(lines))
        elif word == b"DATA":
            writer.write(b"354 Go on\r\n")
            return True
        elif word == b"QUIT":
            writer.write(b"221 Bye\r\n")
        else:
            writer.write(b"250 2.0.0 Ok\r\n")
        return False
