"""A file as a part of a mail: the same bytes for every receiver, under a name that old programs can read, too."""

import base64
import re
import unicodedata
from urllib.parse import quote

from shared.header_text import one_line
from shared.mailboxes import quoted
from shared.media_types import clean_media_type

_ASCII_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]*")
_QP_LINE = 75  # characters, and a soft break
_SEGMENT = 60  # encoded characters of a name in one line
_SIMILAR = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
)


def attachment_part(filename: str, content_type: str, content: bytes) -> bytes:
    """Raises BadHeader. Made once for a whole mailing."""
    filename, kind = one_line(filename), clean_media_type(content_type)
    plain = quoted(ascii_name(filename))
    encoding, body = "base64", b""
    if kind.startswith("text/") and _ASCII_TEXT.fullmatch(content):
        encoding, body, kind = "quoted-printable", quoted_printable(content), f"{kind}; charset=us-ascii"
    if not body or len(body) > 2 * len(content) + _QP_LINE:  # hardly more than line ends
        encoding, body = "base64", base64.encodebytes(content).replace(b"\n", b"\r\n")
    # the whole name first: Python's parser takes the first of two. In numbered form (RFC 2231, section 3) even where
    # one number is enough: Jakarta Mail takes the last of two, but a numbered one before all others
    names = [f"filename*{number}*={part}" for number, part in enumerate(_segments(filename))]
    disposition = "".join(f";\r\n {name}" for name in [*names, f"filename={plain}"])
    head = (
        f"Content-Type: {kind};\r\n name={plain}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f"Content-Disposition: attachment{disposition}\r\n\r\n"
    )
    return head.encode() + body


def ascii_name(filename: str) -> str:
    """What a program that reads only ASCII shows: “Angebot März.pdf” → “Angebot Marz.pdf”."""
    if filename.isascii():
        return filename
    apart = unicodedata.normalize("NFKD", filename.translate(_SIMILAR))
    plain = "".join(character for character in apart if not unicodedata.combining(character))
    plain = re.sub(r"[^\x20-\x7e]+", "_", plain).replace('"', "_").replace("\\", "_")
    stem, dot, extension = plain.rpartition(".")
    if not re.search("[A-Za-z0-9]", stem if dot else plain):
        return f"file{dot}{extension}" if dot else "file"
    return plain


def quoted_printable(content: bytes) -> bytes:
    """ASCII text so that every byte arrives, line ends too: they are encoded (RFC 2045, section 6.7, rule 4), or a
    server or reader would turn them into its own. Every line ends in a soft break, so no blank stands at its end."""
    encoded = content.replace(b"=", b"=3D").replace(b"\r", b"=0D").replace(b"\n", b"=0A")
    encoded = encoded.replace(b"From ", b"=46rom ")  # programs that keep mail in one file put a > before it
    if encoded.endswith((b" ", b"\t")):
        encoded = encoded[:-1] + b"=%02X" % encoded[-1]
    lines, at = [], 0
    while at < len(encoded):
        end = at + _QP_LINE
        if end < len(encoded) and (cut := encoded.rfind(b"=", end - 2, end)) >= 0:
            end = cut  # within no =XX
        lines.append(encoded[at:end])
        at = end
    return b"=\r\n".join(lines)


def _segments(filename: str) -> list[str]:
    """The name in RFC 2231's encoding, in pieces that cut no character; none if it is plain ASCII."""
    if filename.isascii():
        return []
    segments = ["UTF-8''"]
    for character in filename:
        encoded = quote(character, safe="")
        if len(segments[-1]) + len(encoded) > _SEGMENT:
            segments.append("")
        segments[-1] += encoded
    return segments
