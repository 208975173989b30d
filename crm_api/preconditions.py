"""Entity tags, and requests that act only on what their sender has seen (RFC 9110, sections 8.8.3 and 13.1.1).

A tag stands for all that can be changed about a resource. It is compared while the row is locked, in the transaction
that changes it.
"""

import hashlib
import json
import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from crm_api.errors import PreconditionFailed

_TAG = re.compile(r'[ \t,]*(?P<tag>(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?P<end>,[ \t,]*)?')
MAX_CHARACTERS = 8_000  # of an If-Match; the tags of a hundred versions


def etag_of(*values: object) -> str:
    """A strong tag: the same for the same values, another one for others."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


class Condition:
    """What If-Match asks for: nothing, any version, or one of these tags. Weak tags stand in it with their W/."""

    def __init__(self, header: str | None) -> None:
        self._any = header is None or header.strip() == "*"
        self._tags = set() if header is None or self._any else _tags(header.strip())

    def __bool__(self) -> bool:
        """Whether there is anything to compare."""
        return not self._any

    def check(self, etag: str) -> None:
        """Raises PreconditionFailed unless the version fits. A weak tag never does: it compares strongly."""
        if self._any or etag in self._tags:
            return
        if not self._tags:
            raise PreconditionFailed('If-Match is * or a list of entity tags in quotes, like "0f1e2d".', etag)
        if f"W/{etag}" in self._tags:
            raise PreconditionFailed("A weak entity tag (W/) never fits If-Match. Send it as it was given.", etag)
        raise PreconditionFailed("Somebody has changed it since you read it. Read it again and decide anew.", etag)


def _tags(text: str) -> set[str]:
    """The tags of a list; none if it is no list of tags."""
    found = set()
    at = 0
    while at < len(text):
        tag = _TAG.match(text, at)
        if tag is None or (tag.end() < len(text) and not tag["end"]):
            return set()
        found.add(tag["tag"])
        at = tag.end()
    return found


async def _condition(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=MAX_CHARACTERS,
            description="`ETag` of the version to act on, several separated by commas, or `*`: 412 if it is another",
        ),
    ] = None,
) -> Condition:
    given = request.headers.getlist("If-Match")  # several lines are one list
    return Condition(", ".join(given) if given else None)


IfMatch = Annotated[Condition, Depends(_condition)]


def tell(response: Response, etag: str) -> None:
    response.headers["ETag"] = etag


# for a route's `responses`: what its answer says
TAGGED: dict[int | str, dict[str, object]] = {
    200: {"headers": {"ETag": {"description": "this version, for If-Match", "schema": {"type": "string"}}}}
}
TAGGED_NEW: dict[int | str, dict[str, object]] = {201: TAGGED[200]}
