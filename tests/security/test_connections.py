"""Who sends or reads slowly, or nothing at all, holds no connection for long, and keeps nobody out meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crm_api.web.connections import Connections
from crm_api.web.proxies import read_networks
from crm_api.web.static_files import version
from tests.support.databases import Template
from tests.support.stack import KEY, Stack, stack
from tests.support.waiting import wait_until

NOWHERE = "amqp://nobody:nothing@127.0.0.1:1/"
FEW, MOST = 20, 60
NEVER, SOON = 3600, 2
BEARER = f"Authorization: Bearer {KEY}\r\n"

# what somebody who is not signed in sends, and then no more
SILENT = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "half a request line": b"GET /si",
    "half a body": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nemail=",
    "half a chunk": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n100\r\nemail=",
    "a body where nobody is let in": b"POST /api/v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
    "a whole request, and waits": b"GET /sign-in HTTP/1.1\r\nHost: x\r\n\r\n",
    "many, and reads no answer": b"GET /static/%b/htmx.min.js HTTP/1.1\r\nHost: x\r\n\r\n" % version().encode() * 400,
}


def house_with(folder: Path, template: Template, **settings: object) -> contextlib.AbstractContextManager[Stack]:
    url = template.copy_sqlite(folder / "posthaste.sqlite")
    return stack(folder / "data", url, NOWHERE, max_connections=MOST, strangers_per_address=FEW, **settings)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    """Never tired of waiting: only numbers count."""
    with house_with(tmp_path_factory.mktemp("patient"), database_template, request_seconds=NEVER) as made:
        made.start("web")
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    """Soon tired of waiting."""
    with house_with(tmp_path_factory.mktemp("hasty"), database_template, request_seconds=SOON) as made:
        made.start("web")
        yield made


Opens = Callable[[Stack, bytes], socket.socket]


@pytest.fixture
def opens() -> Iterator[Opens]:
    with contextlib.ExitStack() as lines:

        def one(house: Stack, first: bytes) -> socket.socket:
            line = lines.enter_context(socket.create_connection(("127.0.0.1", house.port), 30))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            with contextlib.suppress(ConnectionError):
                line.sendall(first)
            return line

        yield one


def held(house: Stack, lines: list[socket.socket]) -> int:
    """How many of these the server has open, as the kernel says it: none is read from."""
    mine = {f"{line.getsockname()[1]:04X}" for line in lines}
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    theirs = f"{house.port:04X}"
    return sum(
        1
        for row in rows
        if row[1].partition(":")[2] == theirs and row[2].partition(":")[2] in mine and row[3] in ("01", "08")
    )


def ask(house: Stack, path: str = "/health/live", more: str = "") -> bytes:
    with socket.create_connection(("127.0.0.1", house.port), 30) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n".encode())
        return line.recv(12)


OK = b"HTTP/1.1 200"


@pytest.mark.parametrize("silent", SILENT)
def test_strangers_make_room_for_others(patient: Stack, opens: Opens, silent: str) -> None:
    many = FEW + 10 if silent.startswith("many") else MOST * 2  # those are answered until the kernel takes no more
    lines = [opens(patient, SILENT[silent]) for _ in range(many)]

    def few_are_left() -> bool:
        assert ask(patient) == OK, "whoever asks at once is answered at once"
        assert ask(patient, "/api/v1/me", BEARER) == OK
        return held(patient, lines) <= FEW

    wait_until(few_are_left, "the oldest strangers go", seconds=120)


@pytest.mark.parametrize("silent", SILENT)
def test_nobody_is_waited_for_without_end(hasty: Stack, opens: Opens, silent: str) -> None:
    lines = [opens(hasty, SILENT[silent]) for _ in range(3)]
    wait_until(lambda: held(hasty, lines) == 0, "they are closed")
    assert ask(hasty) == OK
    assert "Traceback" not in hasty.log("web")


DRIPPING = {
    "a head": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"x"),
    "a body": (SILENT["half a body"], b"x"),
    "chunks": (SILENT["half a chunk"], b"x"),
    "a body of somebody who is signed in": (
        f"POST /api/v1/customers HTTP/1.1\r\nHost: x\r\n{BEARER}Content-Type: application/json\r\n"
        "Content-Length: 100000\r\n\r\n{".encode(),
        b" ",
    ),
}


@pytest.mark.parametrize("name", DRIPPING)
def test_a_byte_now_and_then_is_not_enough(hasty: Stack, opens: Opens, name: str) -> None:
    first, drop = DRIPPING[name]
    line = opens(hasty, first)

    def is_over() -> bool:
        with contextlib.suppress(ConnectionError):
            line.sendall(drop)
        return held(hasty, [line]) == 0

    wait_until(is_over, "it is closed")


def test_a_slow_line_is_not(hasty: Stack, opens: Opens) -> None:
    """An upload that takes several times as long as a head may, but goes on."""
    content = b"x" * 400_000
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + content + b"\r\n--x--\r\n"
    head = f"POST /api/v1/files HTTP/1.1\r\nHost: x\r\n{BEARER}Content-Type: multipart/form-data; boundary=x\r\n"
    line = opens(hasty, f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    begun, step = time.monotonic(), len(body) // 60
    for start in range(0, len(body), step):
        line.sendall(body[start : start + step])
        time.sleep(3 * SOON / 60)  # the slow line itself
    assert time.monotonic() - begun > 2 * SOON
    assert line.recv(12) == b"HTTP/1.1 201"


def test_an_answer_is_read_as_slowly_as_one_likes_if_one_reads(hasty: Stack, opens: Opens) -> None:
    path = f"/static/{version()}/htmx.min.js"
    line = opens(hasty, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 40)
    line.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    got = bytearray()
    while part := line.recv(100_000):
        got += part
        time.sleep(0.02)
    assert got.count(b"HTTP/1.1 200") == 41
    assert got.endswith(b'{"status":"ok"}')


def test_when_all_places_are_taken_by_people_health_is_answered(patient: Stack, opens: Opens) -> None:
    stream = f"GET /events?topics=x HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n".encode()
    lines = [opens(patient, stream) for _ in range(MOST)]
    assert [line.recv(12) for line in lines] == [OK] * MOST, "more of one address than strangers may be"
    lines += [opens(patient, SILENT["half a head"]) for _ in range(MOST * 2)]
    assert ask(patient) == OK
    assert ask(patient, "/health/ready") == OK
    assert ask(patient, "/sign-in") == b"HTTP/1.1 503"
    assert held(patient, lines[:MOST]) == MOST, "nobody who is signed in had to go"


def test_a_head_has_so_many_headers(patient: Stack) -> None:
    assert ask(patient, "/health/live", "X: x\r\n" * 150) == OK
    assert ask(patient, "/health/live", "X: x\r\n" * 250) == b"HTTP/1.1 431"


class Line:
    is_stranger = waits = True

    def __init__(self, address: str, since: float = 0.0) -> None:
        self.address, self.since, self.gone = address, since, False

    def give_up(self) -> None:
        self.gone = True


def test_who_goes() -> None:
    held = Connections(100, 3, read_networks("10.0.0.0/8"))
    proxy = [Line("10.0.0.7") for _ in range(50)]
    home = [Line(f"2001:db8::{number}") for number in range(5)]  # one house: it may take any of 2⁶⁴ addresses
    other = [Line("2001:db8:0:1::1"), Line("192.0.2.1"), Line("")]
    for line in (*proxy, *home, *other):
        held.add(line)
    assert [line.gone for line in home] == [True, True, False, False, False], "the oldest"
    assert not any(line.gone for line in (*proxy, *other))
    just_now = [Line("192.0.2.9", time.monotonic() + 60) for _ in range(30)]
    for line in just_now:
        held.add(line)
    assert not any(line.gone for line in just_now), "many may come at once"
    for line in [Line(f"192.0.2.{number}") for number in range(100, 200)]:
        held.add(line)
    assert len(held) == 100
    assert all(line.gone for line in proxy), "in all, the oldest of anybody"
    for line in (*proxy, *home, *other, *just_now):
        held.remove(line)  # twice is once
    assert len(held) == 100 - sum(not line.gone for line in (*home, *other, *just_now))
