"""Whose address a request comes from, when a reverse proxy stands before us.

Only a proxy that the settings name is believed what it says about somebody else. Headers of anybody else count for
nothing, or one who guesses passwords would have a new address for every try.
"""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
MOST_HOPS = 20  # a longer list is no proxy's


def read_networks(text: str) -> list[Network]:
    """`10.0.0.0/8, 127.0.0.1`. Raises ValueError for what is no network."""
    return [ip_network(each.strip()) for each in text.split(",") if each.strip()]


class TrustedProxies:
    """Puts the client's own address and scheme into the scope; stands before everything else."""

    def __init__(self, app: ASGIApp, networks: list[Network]) -> None:
        self.app, self._networks = app, networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._networks and scope["type"] == "http" and scope["client"]:
            host, port = scope["client"]
            if self._trusts(host):
                scope = dict(scope)
                scope["client"] = self._client(scope, host), port
                scope["scheme"] = _scheme(scope)
        await self.app(scope, receive, send)

    def _client(self, scope: Scope, nearest: str) -> str:
        """Each proxy adds whom it was asked by at the end: the last one there who is no proxy of ours has asked."""
        named = _values(scope, b"x-forwarded-for")
        for each in reversed(named[-MOST_HOPS:]):
            address = _address(each)
            if address is None:
                break  # what stands before it may have been written by anybody
            nearest = address
            if not self._trusts(address):
                break
        return nearest

    def _trusts(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(ip_address(address) in network for network in self._networks)


def _values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header that is a list, in order; it may have come in several lines."""
    lines = [value.decode("latin-1") for header, value in scope["headers"] if header == name]
    return [value.strip() for value in ",".join(lines).split(",") if value.strip()]


def _scheme(scope: Scope) -> str:
    said = _values(scope, b"x-forwarded-proto")
    return said[-1].lower() if said and said[-1].lower() in ("http", "https") else str(scope["scheme"])


def _address(text: str) -> str | None:
    """Without port, brackets and zone, IPv4 as such even if it was mapped; None if it is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def household(address: str) -> str:
    """What is counted as one: who has an IPv6 address has all of its /64, and could take a new one for every try."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(IPv6Network((int(found), 64), strict=False))
