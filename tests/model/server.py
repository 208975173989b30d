"""The mail server, simulated on the bytes of the connection: it writes down what it took, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.model.process import Process

CLOSE, SILENCE, GARBAGE = "close", "silence", "garbage"
TAKE_AND = "take and "  # after the dot: the letter is taken, and then it closes, falls silent or talks nonsense

_GOOD = {
    "greeting": "220 mx",
    "mail": "250 ok",
    "rcpt": "250 ok",
    "data": "354 go on",
    "dot": "250 ok",
    "rset": "250 ok",
}
_KEY = re.compile(rb"^Message-ID: <([^@>]+)@", re.MULTILINE)


class MailServer:
    def __init__(self) -> None:
        self.taken: list[str] = []  # delivery keys, as their Message-IDs name them
        self.pipelining = True
        self.plans: dict[str, deque[str]] = {}  # phase → what is answered there next; then all is well again
        self.connections = 0

    def plan(self, phase: str, *answers: str) -> None:
        self.plans.setdefault(phase, deque()).extend(answers)

    def behave(self) -> None:
        self.plans.clear()

    def answer(self, phase: str) -> str:
        if phase == "ehlo" and not self.plans.get(phase):
            return "250-mx\r\n250 PIPELINING" if self.pipelining else "250 mx"
        planned = self.plans.get(phase)
        return planned.popleft() if planned else _GOOD[phase]

    async def connect(self, process: Process, factory: Callable[[], asyncio.Protocol]) -> Any:
        self.connections += 1
        return await process.outside("connect", lambda number=self.connections: _Line(self, process, number, factory()))


class _Line(asyncio.Transport):
    """One connection, both ends: the client's transport, and what the server makes of the bytes."""

    def __init__(self, server: MailServer, process: Process, number: int, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._server, self._process, self._protocol = server, process, protocol
        self._to, self._back = f"smtp {number}", f"back {number}"
        self._closing = self._hung_up = self._in_letter = False
        self._buffer = b""
        process.loop.call_soon(protocol.connection_made, self)
        self._say("greeting")

    # ---- the client's end --------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if not self._closing:
            self._process.lay(self._to, lambda: self._receive(bytes(data)))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True  # what was written may still arrive

    abort = close

    # ---- the server's end --------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if self._hung_up:
            return
        self._buffer += data
        while not self._hung_up:
            end = b"\r\n.\r\n" if self._in_letter else b"\r\n"
            text, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            self._letter(text) if self._in_letter else self._command(text.decode())

    def _command(self, line: str) -> None:
        verb = line.split(" ", 1)[0].lower()
        if verb in ("ehlo", "mail", "rcpt", "data", "rset"):
            self._say(verb)

    def _letter(self, content: bytes) -> None:
        self._in_letter = False
        answer = self._server.answer("dot")
        if answer.startswith(("2", TAKE_AND)):
            key = _KEY.search(content)
            assert key is not None
            self._server.taken.append(key[1].decode())
        self._do(answer.removeprefix(TAKE_AND))

    def _say(self, phase: str) -> None:
        answer = self._server.answer(phase)
        self._in_letter = phase == "data" and answer.startswith("354")
        self._do(answer)

    def _do(self, answer: str) -> None:
        if answer == SILENCE:
            return
        if answer == CLOSE:
            self._hung_up = True
            self._back_there(lambda: self._protocol.eof_received())
            return
        self._back_there(lambda: self._protocol.data_received(f"{answer}\r\n".encode()))
        if answer.startswith("421"):
            self._do(CLOSE)

    def _back_there(self, happen: Callable[[], Any]) -> None:
        def arrive() -> None:
            if not self._closing:
                self._process.loop.call_soon(happen)

        self._process.lay(self._back, arrive)
