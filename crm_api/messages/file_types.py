"""What kind of file an attachment is, by its content: what the sender says is believed only where that fits.

A program or a page that calls itself a picture becomes bytes without a kind, which no program opens by itself.
"""

from shared.media_types import BYTES

ZIP = "application/zip"

_BEGINNINGS = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"{\\rtf", "application/rtf"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"MZ\x90\0", BYTES),  # programs
    (b"\x7fELF", BYTES),
    (b"\xcf\xfa\xed\xfe", BYTES),
    (b"\xca\xfe\xba\xbe", BYTES),
)
_BY_CONTENT = {kind for _, kind in _BEGINNINGS} | {"image/webp", "video/mp4"} - {BYTES}
# are ZIP files themselves: documents, and not what runs
_ZIPS = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/epub+zip",
)
_TEXTS = ("text/", "application/json", "application/xml", "message/", "application/x-yaml", "image/svg+xml")


def type_of(content: bytes, said: str) -> str:
    """said: as its sender or its name says, "type/subtype" in small letters."""
    found = _by_content(content)
    if found is not None:
        return said if found == ZIP and said.startswith(_ZIPS) else found
    if said in _BY_CONTENT or (said.startswith(_TEXTS) and not _is_text(content)):
        return BYTES
    return said


def named_again(stored: str, said: str) -> str:
    """The same for a file of which only the type that it was stored with is at hand."""
    fits = (said.startswith(_ZIPS) and stored.startswith((ZIP, *_ZIPS))) or (
        said.startswith(_TEXTS) and stored.startswith(_TEXTS)
    )
    return said if fits else stored


def _by_content(content: bytes) -> str | None:
    for beginning, kind in _BEGINNINGS:
        if content.startswith(beginning):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp":
        return "video/mp4"
    return None


def _is_text(content: bytes) -> bool:
    """Whether an editor would show it: no NUL, but for UTF-16, which has its mark."""
    return b"\0" not in content or content.startswith((b"\xff\xfe", b"\xfe\xff"))
