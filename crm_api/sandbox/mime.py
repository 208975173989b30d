"""The structure of a mail, read from its bytes as a mail client does: whatever is wrong with it, something is shown.

RFC 2045 to 2047, 2231, 5322. Nothing here raises for what came in, and nothing grows faster than the mail: parts,
depth, headers and their lengths have limits.
"""

import binascii
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from shared.encoded_words import decode_words, loose_base64, text_of

MAX_HEADERS = 200
MAX_HEADER_CHARACTERS = 10_000
MAX_HEAD_BYTES = 1024 * 1024
MAX_PARTS = 500
MAX_DEPTH = 30

_HEADER = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# an unclosed quote ends with the header
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)(?:"|\\?$)|([^;]*))', re.DOTALL)
_CONTINUED = re.compile(r"([^*]+)(?:\*(\d{1,3}))?(\*)?")
_KIND = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_BEGIN = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,200})\r?")


@dataclass(frozen=True, slots=True)
class Part:
    """One entity: its headers as they stand there, decoded; its body as it came. inside: kind of what it is in."""

    headers: list[tuple[str, str]]
    body: bytes
    inside: str = ""
    depth: int = 0
    default: str = "text/plain"
    parameters: dict[str, str] = field(default_factory=dict)
    kind: str = ""

    def header(self, name: str) -> str:
        """The first of that name; empty if there is none."""
        return header_of(self.headers, name)

    @property
    def attached(self) -> bool:
        return self.header("Content-Disposition").partition(";")[0].strip().lower() == "attachment"

    @property
    def filename(self) -> str | None:
        """As the sender named it; None if there is no name."""
        disposition = parameters_of(self.header("Content-Disposition"))
        name = disposition.get("filename") or self.parameters.get("name")
        if not name:
            return None
        return decode_words(name)

    @property
    def content(self) -> bytes:
        """Decoded (RFC 2045, section 6); what is no good base64 as far as it goes."""
        encoding = self.header("Content-Transfer-Encoding").partition(";")[0].strip().lower()
        if encoding == "base64":
            return loose_base64(self.body)
        if encoding == "quoted-printable":
            return binascii.a2b_qp(self.body)
        if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
            return b"".join(content for _, content in uuencoded(self.body)[1]) or self.body
        return self.body


def header_of(headers: list[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), "")


def read_part(content: bytes, inside: str = "", depth: int = 0, default: str = "text/plain") -> Part:
    headers, body = read_head(content)
    kind_header = header_of(headers, "Content-Type")
    kind = kind_header.partition(";")[0].strip().lower()
    kind = kind if _KIND.fullmatch(kind) else "text/plain" if kind_header.strip() else default
    return Part(headers, body, inside, depth, default, parameters_of(kind_header), kind)


def read_head(content: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """The headers, decoded, in their order, at most MAX_HEADERS; and all that is none of them."""
    headers: list[tuple[bytes, list[bytes]]] = []
    at = _begin(content)
    while at < min(len(content), MAX_HEAD_BYTES):
        end = content.find(b"\n", at) + 1 or len(content)
        line = content[at:end].rstrip(b"\r\n")
        if not line:
            at = end
            break
        if line[:1] in (b" ", b"\t") and headers:
            headers[-1][1].append(line.strip(b" \t"))
        elif found := _HEADER.match(line):
            headers.append((found[1], [line[found.end() :].strip(b" \t")]))
        elif at or not line.startswith((b"From ", b">From ")):  # a mailbox file's line before a mail is no header
            break
        at = end
    return [(name.decode("ascii"), _decoded(b" ".join(lines))) for name, lines in headers[:MAX_HEADERS]], content[at:]


def _begin(content: bytes) -> int:
    """Where headers begin: some programs send empty lines before them."""
    blank = re.match(rb"[\r\n]*", content[:100])
    assert blank is not None
    return blank.end() if _HEADER.match(content, blank.end()) else 0


def _decoded(value: bytes) -> str:
    text = decode_words(text_of(value[:MAX_HEADER_CHARACTERS]))
    return _CONTROL.sub("\ufffd", " ".join(re.split(r"[\r\n]+", text))).strip()


def parameters_of(value: str) -> dict[str, str]:
    """name → value, of Content-Type and the like; also in pieces and with a character set (RFC 2231)."""
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for found in _PARAMETER.finditer(value):
        quoted = found[2] is not None
        text = re.sub(r"\\(.)", r"\1", found[2]) if quoted else found[3].strip()
        named = _CONTINUED.fullmatch(found[1].lower())
        if named:
            pieces.setdefault(named[1], []).append((int(named[2] or 0), bool(named[3]), text))
    return {name: _joined(sorted(them, key=lambda piece: piece[0])) for name, them in pieces.items()}


def _joined(pieces: list[tuple[int, bool, str]]) -> str:
    if not any(encoded for _, encoded, _ in pieces):
        if len({number for number, _, _ in pieces}) < len(pieces):  # the same name twice: the first one counts
            return pieces[0][2]
        return "".join(text for _, _, text in pieces)
    charset, content = None, b""
    for number, encoded, text in pieces:
        if encoded and number == pieces[0][0] and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        content += unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace")
    return text_of(content, charset)


def walk(content: bytes) -> Iterator[Part]:
    """The parts that hold something, in their order: leaves, and mails inside of the mail; at most MAX_PARTS."""
    waiting, count = [read_part(content)], 0
    while waiting and count < MAX_PARTS:
        part = waiting.pop()
        inner = _inner(part) if part.kind.startswith("multipart/") and part.depth < MAX_DEPTH else None
        if inner is None:
            count += 1
            yield part
        else:
            default = "message/rfc822" if part.kind == "multipart/digest" else "text/plain"
            room = inner[: MAX_PARTS - count]
            waiting += [read_part(body, part.kind, part.depth + 1, default) for body in reversed(room)]


def _inner(part: Part) -> list[bytes] | None:
    """The bodies between the boundaries; None if there is no boundary in it."""
    boundary = part.parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
    if not boundary or b"--" + boundary not in part.body:
        boundary = _guessed(part.body)
    if not boundary:
        return None
    line = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    bodies: list[bytes] = []
    start: int | None = None
    for found in line.finditer(part.body):
        if start is not None:
            bodies.append(part.body[start : found.start()])
        start = None if found[1] else found.end()
        if found[1] or len(bodies) >= MAX_PARTS:
            break
    if start is not None and len(bodies) < MAX_PARTS:  # it ends without a last boundary
        bodies.append(part.body[start:])
    return [body.removeprefix(b"\r").removeprefix(b"\n") for body in bodies] or None


def _guessed(body: bytes) -> bytes:
    """The first line that looks like a boundary, of a mail that does not name the right one."""
    found = re.search(rb"(?:\A|\n)--([^\s-][^\r\n]{0,69}?)[ \t]*\r?\n(?:[A-Za-z-]+:|\r?\n)", body[:MAX_HEAD_BYTES])
    return found[1] if found else b""


def uuencoded(body: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """What is left of a body, and the files that stood in it the old way: begin 644 plan.txt … end."""
    if b"begin " not in body:
        return body, []
    kept: list[bytes] = []
    files: list[tuple[str, bytes]] = []
    lines = body.split(b"\n")
    ends = [at for at, line in enumerate(lines) if line.rstrip(b"\r") == b"end"]
    at = 0
    while at < len(lines):
        begins = _BEGIN.fullmatch(lines[at])
        end = bisect(ends, at)
        if begins and end < len(ends) and len(files) < MAX_PARTS:
            files.append((text_of(begins[1]).strip(), b"".join(map(_uu, lines[at + 1 : ends[end]]))))
            at = ends[end] + 1
        else:
            kept.append(lines[at])
            at += 1
    return b"\n".join(kept), files


def _uu(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line.rstrip(b"\r"))
    except binascii.Error:
        # some programs leave spaces at the end away, or count wrongly
        length = ((line[0] - 32) & 63) * 4 // 3 + 1 if line else 0
        try:
            return binascii.a2b_uu(line[: length + 1].rstrip(b"\r").ljust(length + 1))
        except binascii.Error:
            return b""
