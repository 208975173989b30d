"""Reading the properties of a message, whatever its sender has put into them.

A header that Python cannot hold (a time after the year 9999, a table in a table in a thousand tables) ends pika's
connection, and with it all that was in hand. The broker gives the same message out again, until it and those beside it
are dead letters, and then nobody can look through those, either. Such a value is None here, as if it were not there;
names that are no UTF-8 are text all the same.
"""

import struct
import threading
from typing import Any

import pika.data

MAX_DEPTH = 10  # of tables and lists in one another; the broker's own x-death has two
_FIXED = {b"T": 8, b"f": 4, b"d": 8}  # bytes of what may be out of Python's range
_NESTED = (b"A", b"F")
_decode_value = pika.data.decode_value


class _Depth(threading.local):
    """Of the value that this thread is reading: pika reads in one go."""

    now = 0


_depth = _Depth()


def read_all() -> None:
    """pika reads every message so from now on."""
    pika.data.decode_value, pika.data.decode_short_string = decode_value, decode_short_string


def decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
    """As pika's: the value at this place, and where the next one begins."""
    kind, after = encoded[offset : offset + 1], offset + 1
    if kind in _NESTED:
        if _depth.now >= MAX_DEPTH:
            (length,) = struct.unpack_from(">I", encoded, after)
            return None, after + 4 + length
        _depth.now += 1
        try:
            return _read(encoded, offset)
        finally:
            _depth.now -= 1
    if kind in _FIXED:
        try:
            return _read(encoded, offset)
        except (ValueError, OverflowError, OSError):
            return None, after + _FIXED[kind]
    return _read(encoded, offset)


def _read(encoded: bytes, offset: int) -> tuple[Any, int]:
    found: tuple[Any, int] = _decode_value(encoded, offset)
    return found


def decode_short_string(encoded: bytes, offset: int) -> tuple[str, int]:
    """As pika's, but always text."""
    begin = offset + 1
    end = begin + encoded[offset]
    return encoded[begin:end].decode("utf-8", "backslashreplace"), end
