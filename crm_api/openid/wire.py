"""The line to the OpenID provider: to its hosts only, not for long, and no more than fits."""

import ssl
from collections.abc import AsyncIterator
from functools import cache

import httpx2

MOST_BYTES = 256 * 1024  # of one answer; a set of keys has a few thousand
CONNECT_SECONDS, READ_SECONDS = 5, 5


class Elsewhere(httpx2.TransportError):
    """It was to be asked somewhere that the settings do not name."""


class TooLong(httpx2.TransportError):
    pass


class Wire(httpx2.AsyncBaseTransport):
    """netlocs: host, or host:port where it is not the scheme's own."""

    def __init__(self, scheme: str, netlocs: frozenset[str]) -> None:
        self._scheme, self._netlocs = scheme, netlocs
        self._inner = httpx2.AsyncHTTPTransport(verify=_authorities())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.scheme != self._scheme or request.url.netloc.decode() not in self._netlocs:
            raise Elsewhere(f"{request.url.host} is no host of the provider's: OPENID_HOSTS may name it")
        request.headers["Accept-Encoding"] = "identity"  # what is packed has no length that one could look at
        response = await self._inner.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise TooLong("the answer is packed")
        response.stream = _Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream | httpx2.SyncByteStream) -> None:
        assert isinstance(stream, httpx2.AsyncByteStream)
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MOST_BYTES:
                raise TooLong(f"the answer has more than {MOST_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


@cache
def _authorities() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx2.create_ssl_context()


def timeouts() -> httpx2.Timeout:
    return httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
