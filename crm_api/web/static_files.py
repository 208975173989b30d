"""Static files under an address that holds the hash of them all, so that browsers may keep them for ever.

One hash for the whole folder: a style sheet names its fonts by relative addresses, which then carry it, too.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from crm_api.errors import NotFound
from crm_api.web.security import STATIC

FOLDER = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {".woff2": "font/woff2", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class _File:
    content: bytes
    gzipped: bytes | None
    media_type: str


@cache
def _files() -> dict[str, _File]:
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            gzipped = None if path.suffix == ".woff2" else gzip.compress(content, 9)
            found[path.relative_to(FOLDER).as_posix()] = _File(content, gzipped, kind)
    return found


@cache
def version() -> str:
    digest = hashlib.sha256()
    for name, file in _files().items():
        digest.update(f"{name}\0{len(file.content)}\0".encode() + file.content)
    return digest.hexdigest()[:16]


def static(name: str) -> str:
    """The address of a static file; a name that is none is a mistake in a template."""
    if name not in _files():
        raise LookupError(f"no static file {name!r}")
    return f"{STATIC}{version()}/{name}"


def answer(request: Request, its_version: str, name: str) -> Response:
    """An address with an older hash gets the newest content, but may not keep it."""
    file = _files().get(name)
    if file is None:
        raise NotFound("There is no such file.")
    headers = {
        "Cache-Control": FOR_EVER if its_version == version() else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if file.gzipped and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.gzipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
