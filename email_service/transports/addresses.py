"""The addresses of a mail server: each gets its turn (RFC 5321, section 5.1), those that were dead lately the last."""

import asyncio
import itertools
import socket
import time
from collections.abc import Awaitable, Callable, Sequence

AVOID_SECONDS = 300  # how long an address that did not answer stands behind the others

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # name and port → addresses, the best first


async def resolve(host: str, port: int) -> list[str]:
    """IPv6 and IPv4, in the system's order of preference (RFC 6724). Raises socket.gaierror or UnicodeError."""
    if _family(host):
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Addresses:
    """Of one server, for all connections of this process to it."""

    def __init__(self, host: str, port: int, resolve: Resolve = resolve) -> None:
        self._host, self._port, self._resolve = host, port, resolve
        self._avoided: dict[str, float] = {}  # until when

    async def in_turn(self) -> list[str]:
        """At least one. Raises as `resolve` does, or OSError."""
        found = _alternating(await self._resolve(self._host, self._port))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no addresses")
        now = time.monotonic()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        return sorted(found, key=self._avoided.__contains__)  # stable: apart from that in their order

    def avoid(self, address: str) -> None:
        self._avoided[address] = time.monotonic() + AVOID_SECONDS

    def trust(self, address: str) -> None:
        self._avoided.pop(address, None)


def _alternating(addresses: Sequence[str]) -> list[str]:
    """By family in turns (RFC 8305, section 4), so that a network without one of them costs one turn and not many."""
    first = [each for each in addresses if _family(each) == _family(addresses[0])]
    other = [each for each in addresses if _family(each) != _family(addresses[0])]
    return [each for pair in itertools.zip_longest(first, other) for each in pair if each is not None]


def _family(address: str) -> int:
    """4, 6, or 0 for a name."""
    for number, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        try:
            socket.inet_pton(family, address.partition("%")[0])
        except (OSError, ValueError):
            continue
        return number
    return 0
