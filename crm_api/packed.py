"""A few values as one word that a browser or program keeps for us and brings back: cursors, toasts.

Anybody may write such a word himself, so it is read strictly by the type that it has to be, and nothing else is made
of it on the way: JSON of a thousand brackets is refused at the first that does not fit.
"""

import base64
import binascii
import json
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

Kind = TypeVar("Kind")


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def pack(value: Any) -> str:
    """JSON in base64 for addresses (RFC 4648, section 5), unpadded."""
    return base64.urlsafe_b64encode(json.dumps(value, ensure_ascii=False).encode()).decode().rstrip("=")


def unpack(word: str, kind: type[Kind], most: int) -> Kind:
    """What was packed, as `kind`; ValueError for anything else, and for more than `most` characters."""
    if len(word) > most:
        raise ValueError("too long")
    try:
        raw = base64.b64decode(word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4), altchars=b"-_", validate=True)
        read: Kind = _reader(cast(Any, kind)).validate_json(raw, strict=True)
        return read
    except (ValueError, binascii.Error) as problem:  # pydantic's ValidationError is a ValueError
        raise ValueError("not packed here") from problem
