"""The kind of a file, as it may stand in a Content-Type (RFC 2045, section 5.1; letters of RFC 6838, section 4.2)."""

import re

BYTES = "application/octet-stream"
_KIND = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


def clean_media_type(text: str) -> str:
    """type/subtype in small letters, without parameters; whatever cannot be the type of a file is BYTES."""
    kind = text.partition(";")[0].strip().lower()
    # multipart and message must not be encoded (RFC 2045, section 6.4): as a file they are bytes
    return kind if _KIND.fullmatch(kind) and not kind.startswith(("multipart/", "message/")) else BYTES
