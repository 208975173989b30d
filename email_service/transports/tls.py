"""TLS as a matter of bytes, without sockets: what the network brings becomes text, and text what the network takes.

An event loop's own TLS throws away what lies in the receive buffer when a write fails; here lines.py fetches it.
docs/decisions/0014 says more.
"""

import contextlib
import ssl

_READ_BYTES = 64 * 1024


class Tls:
    """One client's end. All methods raise ssl.SSLError; what is to be sent then is `outgoing` all the same."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=host)
        self.established = self.ended = False  # ended: by the server, in its own words

    def __str__(self) -> str:
        cipher = self._object.cipher()
        return f"{self._object.version()} {cipher[0] if cipher else ''}".strip()

    def feed(self, data: bytes) -> None:
        """What the network has brought."""
        self._in.write(data)

    def outgoing(self) -> bytes:
        """What the network has to take now."""
        return self._out.read()

    def handshake(self) -> bool:
        """Goes on with what has come; True: it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def decrypt(self) -> bytes:
        """The text that has come whole."""
        text = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self._object.read(_READ_BYTES):
                text += piece
            self.ended = True
        return bytes(text)

    def encrypt(self, text: bytes) -> bytes:
        view = memoryview(text)
        while view:
            view = view[self._object.write(view) :]
        return self._out.read()

    def goodbye(self) -> bytes:
        """RFC 8446, section 6.1: so that the server can tell our end from one that somebody forged."""
        with contextlib.suppress(ssl.SSLError):  # its own goodbye has not come, and we do not wait for it
            self._object.unwrap()
        return self._out.read()
