"""Where to go on: an address that came from outside is taken only if it can be nothing but a page of ours."""

import re
from urllib.parse import quote

MAX_CHARACTERS = 2000
# our own paths have no other: no backslash, which browsers read as a slash; no percent sign, behind which one may hide;
# nothing from outside ASCII, of which some looks like a slash
_SEGMENT = re.compile(r"[A-Za-z0-9_.~-]+")
_NOT_IN_A_QUERY = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_KEPT = "/?#[]@!$&'()*+,;=:%-._~"  # RFC 3986, section 2.2 and 2.1; all else is percent-encoded


def here(url: str) -> str:
    """The address if it is one of ours, else the first page. Browsers leave out tabs and line breaks, take `\\` for `/`
    and two slashes for another host (URL Standard, section 4.4): what has any of that is none of ours."""
    if not url.startswith("/") or len(url) > MAX_CHARACTERS:
        return "/"
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    segments = path[1:].removesuffix("/").split("/") if path != "/" else []
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        return "/"
    rest = url[len(path) :]
    return "/" if _NOT_IN_A_QUERY.search(rest) else url


def in_header(url: str) -> str:
    """Percent-encoded where it has to be, as it can stand in a header."""
    return quote(url, safe=_KEPT)
