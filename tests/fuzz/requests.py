"""Requests for every route: half of each as it should be, half not, as the bytes that a server reads."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import iter_route_contexts

from crm_api.routes import router
from tests.fuzz import values

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
EXTRA = ("q", "cursor", "limit", "wait", "next", "x")


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    query: dict[str, Any]  # name → JSON schema
    body: dict[str, Any]
    form: bool


@dataclass
class Known:
    """ids: name of a parameter → what is there. who: headers of people who may come in, and of nobody."""

    ids: dict[str, list[str]]
    who: list[list[bytes]] = field(default_factory=list)


def routes() -> list[Route]:
    found = []
    for one in iter_route_contexts(router.routes):
        query: dict[str, Any] = {}
        body: dict[str, Any] = {}
        form = False
        for dependant in _dependants(one.dependant):  # type: ignore[attr-defined]
            query |= {each.alias: each._type_adapter.json_schema() for each in dependant.query_params}
            body |= {each.alias: each._type_adapter.json_schema() for each in dependant.body_params}
            form |= any(isinstance(each.field_info, Form) for each in dependant.body_params)
        found += [Route(method, one.path, query, body, form) for method in sorted(one.methods or ())]
    return found


def _dependants(one: Dependant) -> Iterator[Dependant]:
    yield one
    for each in one.dependencies:
        yield from _dependants(each)


def make(route: Route, known: Known, dice: random.Random) -> bytes:
    """One request, whole, with the connection closed after it."""
    method = route.method if dice.random() < 0.93 else dice.choice(METHODS)
    headers = [b"Host: posthaste.example", b"Connection: close", *dice.choice(known.who)]
    headers += [dice.choice(values.HEADERS) for _ in range(dice.choice((0, 0, 0, 1, 2)))]
    if dice.random() < 0.15:
        headers.append(b"Cookie: " + dice.choice(values.COOKIES).encode("latin-1"))
    kind, body = _body(route, known, dice)
    if kind is not None:
        headers.append(b"Content-Type: " + kind.encode("latin-1"))
    if body or method in ("POST", "PUT", "PATCH"):
        length = len(body) if dice.random() < 0.97 else dice.choice((0, 1, len(body) + 1, -1, 10**30))
        headers.append(b"Content-Length: %d" % length)
    target = _path(route, known, dice) + _query(route, known, dice)
    return b"\r\n".join([f"{method} ".encode() + target + b" HTTP/1.1", *headers, b"", body])


def _path(route: Route, known: Known, dice: random.Random) -> bytes:
    def put(found: re.Match[str]) -> str:
        name = found[1].partition(":")[0]
        there = known.ids.get(name)
        if there and dice.random() < 0.8:
            return dice.choice(there)
        return quote(values.text(dice)[:600], safe="%" if dice.random() < 0.5 else "") or "x"

    path = re.sub(r"\{([^}]*)\}", put, route.path).encode()
    return path + dice.choice((b"/", b"%00", b"%2f", b"\xff", b"//")) if dice.random() < 0.02 else path


def _query(route: Route, known: Known, dice: random.Random) -> bytes:
    pairs = []
    for name, schema in route.query.items():
        pairs += [(name, _word(schema, name, known, dice)) for _ in range(dice.choice((0, 0, 1, 1, 1, 2)))]
    if dice.random() < 0.1:
        pairs.append((dice.choice(EXTRA), values.text(dice)))
    pairs = [(name, value) for name, value in pairs if not (name == "wait" and _would_wait(value))]
    if not pairs:
        return dice.choice((b"", b"", b"", b"?", b"?&&=", b"?\xff=\xfe", b"?%"))
    safe = "%" if dice.random() < 0.2 else ""
    return b"?" + "&".join(f"{quote(name)}={quote(value[:6000], safe=safe)}" for name, value in pairs).encode()


def _would_wait(text: str) -> bool:
    try:
        return 0 < float(text) <= 60
    except ValueError:
        return False


def _word(schema: dict[str, Any], name: str, known: Known, dice: random.Random) -> str:
    if name == "cursor" and dice.random() < 0.7:
        return dice.choice(values.CURSORS)
    if dice.random() < 0.5:
        return values.text(dice)
    value = instance(schema, schema.get("$defs", {}), known, dice, name)
    return value if isinstance(value, str) else str(value)


def _body(route: Route, known: Known, dice: random.Random) -> tuple[str | None, bytes]:
    if not route.body:
        return dice.choice(((None, b""), (None, b""), (None, b""), ("application/json", b"{}"), ("x", b"\xff")))
    choice = dice.random()
    if choice < 0.05:
        kind = dice.choice(("application/json", "", "text/plain", "multipart/form-data", "\xff"))
        return kind, values.text(dice).encode()
    if route.form is (choice < 0.95):
        return _form(route, known, dice)
    return "application/json", values.as_json(_json(route, known, dice), dice)


def _json(route: Route, known: Known, dice: random.Random) -> Any:
    if len(route.body) == 1:
        ((name, schema),) = route.body.items()
        return instance(schema, schema.get("$defs", {}), known, dice, name)
    return {name: values.member(dice) for name in route.body}


def _form(route: Route, known: Known, dice: random.Random) -> tuple[str, bytes]:
    pairs = [
        (name, str(_word(schema, name, known, dice)))
        for name, schema in route.body.items()
        for _ in range(dice.choice((0, 1, 1, 1, 3)))
    ]
    if dice.random() < 0.5:
        return "application/x-www-form-urlencoded", "&".join(
            f"{quote(name)}={quote(value, safe=dice.choice(('', '%')))}" for name, value in pairs
        ).encode()
    parts = b""
    for name, value in pairs:
        file = dice.random() < (0.7 if name in ("file", "uploads") else 0.05)
        more = f'; filename="{values.text(dice)[:60]}"' if file else ""
        disposition = f'Content-Disposition: form-data; name="{name}"{more}'.encode("utf-8", "replace")
        parts += b"--x\r\n" + disposition + b"\r\n\r\n" + value.encode("utf-8", "replace") + b"\r\n"
    ending = dice.choice((b"--x--\r\n", b"--x--\r\n", b"--x--\r\n", b"--x", b"", b"\r\n--x--"))
    charset = f"; charset={dice.choice(values.CHARSETS)}" if dice.random() < 0.1 else ""
    return f"multipart/form-data; boundary=x{charset}", parts + ending


def instance(schema: dict[str, Any], defs: dict[str, Any], known: Known, dice: random.Random, name: str = "") -> Any:
    """Something of this schema; each part of it is something else at times."""
    if dice.random() < 0.08:
        return values.member(dice)
    if "$ref" in schema:
        return instance(defs[schema["$ref"].rpartition("/")[2]], defs, known, dice, name)
    if "anyOf" in schema:
        return instance(dice.choice(schema["anyOf"]), defs, known, dice, name)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            made = {
                key: instance(value, defs, known, dice, key)
                for key, value in schema.get("properties", {}).items()
                if key in schema.get("required", ()) or dice.random() < 0.5
            }
            if dice.random() < 0.03:
                made[values.text(dice)] = values.member(dice)
            return made
        case "array":
            return [instance(schema["items"], defs, known, dice, name) for _ in range(dice.choice((0, 1, 1, 2, 5)))]
        case "integer" | "number":
            return dice.choice((schema.get("minimum", 0), schema.get("maximum", 1), 1, 2**63))
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
        case _:
            return _text_of(schema, known, dice, name)


def _text_of(schema: dict[str, Any], known: Known, dice: random.Random, name: str) -> str:
    if schema.get("format") == "date-time":
        return dice.choice(values.TIMES)
    if (there := known.ids.get(name)) and dice.random() < 0.6:
        return dice.choice(there)
    if schema.get("format") == "uuid":
        return values.ID
    if "email" in name or name in ("address", "reply_to", "typed"):
        return dice.choice(("ada@example.com", "ida@holt.example, tom@x.example", "ida@holt-trees.example"))
    return values.text(dice)[: schema.get("maxLength", 10_000)]
