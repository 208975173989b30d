"""Encoded words of RFC 2047, as mail programs write them, also wrongly: `=?utf-8?q?Ida_H=C3=B6lt?=`."""

import binascii
import codecs
import re
from itertools import groupby

_WORD = re.compile(r"=\?([^?\s]{1,60})\?([BbQq])\?([^?\r\n]*)\?=")
_CHARACTERS = re.compile(r"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
# codecs that are no character sets, or that can raise whatever they are told to do about errors
_NONE = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"}
_ALIASES = {
    # what browsers take these for (WHATWG Encoding), and what mail programs mean by them
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
}


def known_charset(name: str | None) -> str | None:
    """The codec for what a mail calls its character set; None if it is none."""
    if not name:
        return None
    name = name.partition("*")[0].strip("\"' \t").lower()  # RFC 2231, section 5: a language may follow
    name = _ALIASES.get(name, name)
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    text = getattr(found, "_is_text_encoding", True)
    return found.name if text and found.name.replace("-", "_") not in _NONE else None


def text_of(content: bytes, charset: str | None = None) -> str:
    """What the bytes say, in the character set that they are said to have, or plainly have. Never raises, and never
    answers halves of characters, which nothing could carry further."""
    name = known_charset(charset) or "utf-8"
    if name in ("utf-8", "cp1252"):  # what is called ASCII or Latin-1 and reads as UTF-8 is UTF-8
        return _utf_8(content, name)
    try:
        return _whole(content.decode(name, "replace"))
    except (ValueError, LookupError):
        return _utf_8(content, name)


def _utf_8(content: bytes, name: str) -> str:
    text = content.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    if bad and (name == "cp1252" or bad > sum(character > "\x7f" for character in text) - bad):
        try:
            return content.decode("cp1252")
        except UnicodeDecodeError:
            return content.decode("latin-1")
    return text


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # UTF-7 can hold halves of characters


def decode_words(text: str) -> str:
    """The text with its encoded words read. One that cannot be read stays as it is. Takes time by length, no more."""
    if "=?" not in text:
        return text
    parts: list[tuple[str | None, bytes | str]] = []  # (character set, bytes) of a word, (None, text) of what is none
    end = 0
    for found in _WORD.finditer(text):
        content = _content(found[2], found[3])
        between = text[end : found.start()]
        # white space between two encoded words is none (RFC 2047, section 6.2)
        if between and not (end and not between.strip(" \t\r\n")):
            parts.append((None, between))
        parts.append((found[1].lower(), content))
        end = found.end()
    parts.append((None, text[end:]))
    read = []
    # a character may begin in one word and end in the next
    for charset, group in groupby(parts, lambda part: part[0]):
        pieces = [piece for _, piece in group]
        if charset is None:
            read += [piece for piece in pieces if isinstance(piece, str)]
        else:
            read.append(text_of(b"".join(piece for piece in pieces if isinstance(piece, bytes)), charset))
    return "".join(read)


def _content(way: str, content: str) -> bytes:
    data = content.encode("utf-8", "replace")
    if way in "qQ":
        return _CHARACTERS.sub(lambda found: chr(int(found[1], 16)), data.decode("latin-1").replace("_", " ")).encode(
            "latin-1"
        )
    return loose_base64(data)


def loose_base64(content: bytes) -> bytes:
    """What base64 says (RFC 4648), as far as it goes: other signs are skipped, and an end that is cut is none."""
    good = content.translate(None, _NOT_BASE64)
    good = good[: len(good) - (len(good) % 4 == 1)]
    return binascii.a2b_base64(good + b"=" * (-len(good) % 4))
