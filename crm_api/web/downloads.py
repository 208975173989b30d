"""Bytes that somebody else made, given out: always as a download, never as anything that a browser runs or shows.

Whoever uploads a script must not have it served as one from our own address, where our pages would run it. So nothing
that is stored keeps its type here: it is bytes without a kind, for saving, under a policy that lets nothing happen.
"""

from urllib.parse import quote

from starlette.responses import Response

from crm_api.limits import MAX_FILENAME
from shared.media_types import BYTES

INERT = {BYTES, "message/rfc822"}  # browsers run neither, nor do they guess with nosniff
# what separates folders, what a shell or Windows reads otherwise
_NOT_IN_A_NAME = set('/\\:*?"<>|')


def download(content: bytes, filename: str, media_type: str = BYTES) -> Response:
    if media_type not in INERT:
        raise ValueError(f"{media_type} is not inert")
    return Response(
        content,
        media_type=media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(safe_name(filename), safe='')}",  # RFC 6266
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


def safe_name(filename: str) -> str:
    """As it can be saved everywhere: no folder, no control character, nothing that turns the direction of writing."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join("_" if one in _NOT_IN_A_NAME or not one.isprintable() else one for one in last)
    return kept.strip(" .")[:MAX_FILENAME] or "unnamed"
