"""What is put where something sensible is expected."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

ID = "01936b2e-8f00-7c3a-9d50-2b1f6a7c8d9e"
_DEEP = "[" * 3000


def packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


CURSORS = [
    packed(_DEEP.encode()),
    packed(b'["' + b"x" * 9000 + b'"]'),
    packed(f'["{ID}"]'.encode()),
    packed(b'["ffffffff-ffff-ffff-ffff-ffffffffffff"]'),
    packed(b'["00000000-0000-0000-0000-000000000000"]'),
    packed(f'["name", "\\u0000", "{ID}"]'.encode()),
    packed(f'["name", "\\ud800", "{ID}"]'.encode()),
    packed(f'["written", "0001-01-01T00:00:00+23:59", "{ID}"]'.encode()),
    packed(f'["created", "9999-12-31T23:59:59-23:59", "{ID}"]'.encode()),
    packed(f'["company", "\U0010ffff", "{ID}"]'.encode()),
    packed(b'["9223372036854775808"]'),
    packed(b'["-1"]'),
    packed(b'["\xc2\xb2"]'),
    packed(b"[NaN, 1e400]"),
    packed(b'{"a": 1}'),
]
TIMES = [
    "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z", "2026-11-24T24:00:00Z", "1969-12-31T23:59:59Z", "2026-11-24", "0000-01-01",
    "9999-12-31", "0001-01-01", "12:00", "2026-11-24T08:00", "2026-W48-2", "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "-1", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "9" * 400, "1e400", "-1e400", "1e-400", "NaN", "Infinity", "0x10", "1_000", "１２", "²", "1.5", " 1 ", "+1",
    "007",
]  # fmt: skip
TEXTS = [
    "", " ", "\0", "a\0b", "\r\n", "\x1b[0m", "\ufeff", "\u202e", "\ufffe", "\U0010ffff", "\ufdfa" * 40,
    "e\u0301" * 40, "\u0345" * 40, "ẞ", "İ", "𝔸", "あ" * 60, "👩‍👩‍👧‍👦" * 20, "%", "%00", "%ff", "%ED%A0%80",
    "../..", "..%2f", "//x", "/\\x", "\\", "'", '"', "'; --", "<script>", "{{", "{{ x }}",
    "{{ first_name | default('", "}}", "[" * 300, "*" * 300, "`" * 300, "> " * 200, "|" * 300, "![](",
    "<" * 300, "&#0;", "&#xD800;", "a@b", "a@b.example", "@", "a@" * 100, '"a b"@x.example', "a@[127.0.0.1]",
    "a@xn--a.example", "ä@ü.example", "a@" + "x" * 300, "Ida <ida@x.example>", "<>", "a,b;c\nd", ",,,,",
    "customer:", f"customer:{ID}", "contact:x", "email:", "email:a@b.example", "email:\0", "x" * 60, "x" * 700,
    "x" * 5000, "null", "true", "none", "undefined", "[]", "{}", ID, ID.upper(), "{" + ID + "}",
    "urn:uuid:" + ID, ID.replace("-",""), "all", "everything", "failed,unknown", ",", "name", "written", "show",
    "send", "later", "remove:x", "seen:1", "seen:²", "drop:", "empty", "0" * 64, "f" * 64 + ":x.txt", "light",
    "admin", "messages.send", "user.", "user.disabled", "html",
]  # fmt: skip
COOKIES = [
    "toast=" + packed(_DEEP.encode()),
    "toast=" + packed(b'{"title": "x", "undo": "/x", "undo_seconds": "y"}'),
    "toast=" + packed(b'{"title": {"a": 1}}'),
    "toast=" + packed(b'{"title": "\\ud800"}'),
    "toast=§",
    "timezone=America",
    "timezone=" + "x" * 3000,
    "timezone=Pacific%2FKiritimati",
    "timezone=\xff",
    "theme=x",
    "posthaste-8000-openid=x",
    "=;=;;",
]
HEADERS = [
    b"HX-Request: true", b"HX-Request-Type: partial", b"HX-Target: div#list", b"HX-Target: #",
    b"HX-Current-URL: http://[", b"HX-Current-URL: \xff\xfe", b"Origin: http://[", b"Origin: null",
    b"Sec-Fetch-Site: cross-site", b"Range: bytes=0-", b"Range: bytes=99999999999999999999-1",
    b'If-None-Match: W/"\xff"', b"If-Match: *", b'If-Match: "0"', b"If-Match: \xff",
    b"If-Modified-Since: never", b"Accept: \xff", b"Accept-Language: " + b"a," * 2000, b"Accept-Encoding: \xff",
    b"User-Agent: \xff\xfe", b"X-Forwarded-For: [", b"X-Forwarded-Proto: \xff", b"Idempotency-Key: ",
    b"Idempotency-Key: \xff", b"Idempotency-Key: " + b"k" * 201, b"Idempotency-Key: a key",
    b"Idempotency-Key: a key\r\nIdempotency-Key: another", b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Expect: 100-continue", b"Expect: x", b"Content-Encoding: gzip", b"traceparent: x", b"Cookie: \xff",
    b"Forwarded: for=[", b"X-HTTP-Method-Override: DELETE", b"Content-Length: 0", b"Transfer-Encoding: chunked",
    b"Host: [", b"Host: \xff",
]  # fmt: skip
CHARSETS = ["utf-8", "idna", "punycode", "utf-16", "unicode_escape", "rot13", "undefined", "\xff"]


def text(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.6:
        return dice.choice(TEXTS)
    if kind < 0.7:
        return dice.choice(TEXTS) + dice.choice(TEXTS)
    if kind < 0.8:
        return dice.choice(NUMBERS)
    if kind < 0.9:
        return dice.choice(TIMES)
    if kind < 0.95:
        return dice.choice(CURSORS)
    return "".join(chr(dice.choice((dice.randrange(0x80), dice.randrange(0x800), 0x1F600))) for _ in range(20))


def member(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON value, of the wrong kind more often than not."""
    kind = dice.randrange(9)
    if kind == 0 and depth < 3:
        return [member(dice, depth + 1) for _ in range(dice.randrange(4))]
    if kind == 1 and depth < 3:
        return {text(dice): member(dice, depth + 1) for _ in range(dice.randrange(4))}
    if kind == 2:
        return dice.choice([None, True, False])
    if kind == 3:
        return dice.choice(
            [0, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 0.5, float("nan"), float("inf"), -0.0]
        )
    return text(dice)


def as_json(value: Any, dice: random.Random) -> bytes:
    """Sometimes with half a pair, cut, or in another encoding."""
    written = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "replace")
    kind = dice.random()
    if kind < 0.05:
        return written.replace(b'"', b'"\\ud800', 3)
    if kind < 0.08:
        return written[: dice.randrange(len(written) + 1)]
    if kind < 0.1:
        return written.decode().encode("utf-16")
    if kind < 0.12:
        return _DEEP.encode() + written
    if kind < 0.14:
        return written.replace(b":", b":" + b"9" * 5000, 1)
    if kind < 0.16:
        return written.replace(b'"', b'"\xff', 1)
    return written
