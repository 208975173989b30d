"""Mails of every kind that programs send, well-formed and not, and how a mail client shows them."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def _lines(*lines: str | bytes) -> bytes:
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)


TEXT = "Content-Type: text/plain; charset="
B64 = "Content-Transfer-Encoding: base64"
PDF = ["Content-Type: application/pdf", B64, "", "JVBERg=="]


def _mixed(*parts: Sequence[str | bytes], boundary: str = "b", end: bool = True, kind: str = "mixed") -> bytes:
    lines: list[str | bytes] = [f'Content-Type: multipart/{kind}; boundary="{boundary}"', ""]
    for part in parts:
        lines += [f"--{boundary}", *part]
    return _lines(*lines, *([f"--{boundary}--", ""] if end else []))


def _deep(levels: int) -> bytes:
    opening = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(levels)
    )
    return opening + b"\r\ndeep words\r\n"


Mail = tuple[bytes, dict[str, Any]]
MAILS: dict[str, Mail] = {
    "nothing at all": (b"", {"subject": "", "text": ""}),
    "only line ends": (b"\r\n\r\n\r\n", {"subject": ""}),
    "no header": (b"only words\r\nand more\r\n", {"subject": "", "text": "only words\nand more\n"}),
    "only a header": (b"Subject: x", {"subject": "x", "text": ""}),
    "lines end with LF alone": (b"Subject: x\nTo: a@b.example\n\nwords\n", {"subject": "x", "text": "words\n"}),
    "lines end with CR alone": (b"Subject: x\r\rwords\r", {}),
    "an empty line first": (b"\r\nSubject: x\r\n\r\nwords", {"subject": "x", "text": "words"}),
    "a mailbox file's line first": (
        b"From ida Sat Nov 28\r\nSubject: x\r\n\r\nwords",
        {"subject": "x", "text": "words"},
    ),
    "a header is folded": (b"Subject: a\r\n \tb\r\n\tc\r\n\r\n", {"subject": "a b c"}),
    "a header of UTF-8": ("Subject: Grüße\r\n\r\n".encode(), {"subject": "Grüße"}),
    "a header of Latin-1": ("Subject: Grüße\r\n\r\n".encode("latin-1"), {"subject": "Grüße"}),
    "NUL": (b"Subject: a\0b\r\n\r\nc\0d", {"subject": "a\ufffdb", "text": "c\ufffdd"}),
    "a word in two characters sets": (
        b"Subject: =?utf-8?q?a=C3?= =?utf-8?q?=BC?= =?iso-8859-1?q?=FC?=\r\n\r\n",
        {"subject": "aüü"},
    ),
    "a broken encoded word": (b"Subject: =?utf-8?q?broken\r\n\r\n", {"subject": "=?utf-8?q?broken"}),
    "an encoded word with spaces": (b"Subject: =?utf-8?q?a b?=\r\n\r\n", {"subject": "a b"}),
    "an encoded word of bad base64": (b"Subject: =?utf-8?b?w7w*?=\r\n\r\n", {"subject": "ü"}),
    "no such character set": (_lines(TEXT + "nonsense", "", "words"), {"text": "words"}),
    "what is no character set": (_lines(TEXT + "undefined", "", "words"), {"text": "words"}),
    "a codec that is none": (_lines(TEXT + "base64", "", "words"), {"text": "words"}),
    "idna": (_lines(TEXT + "idna", "", b"xn--\xff"), {}),
    "punycode": (_lines(TEXT + "punycode", "", b"a-\xff" * 50), {}),
    "UTF-7 with half a character": (_lines(TEXT + "utf-7", "", "a+2AA-b"), {"text": "a?b"}),
    "UTF-16": (_lines(TEXT + "utf-16", B64, "", base64.b64encode("Grüße".encode("utf-16"))), {"text": "Grüße"}),
    "Japanese": (_lines(TEXT + "iso-2022-jp", "", "山田".encode("iso-2022-jp")), {"text": "山田"}),
    "GB2312 that is GBK": (_lines(TEXT + "gb2312", "", "朱镕基".encode("gbk")), {"text": "朱镕基"}),
    "ASCII that is UTF-8": (_lines(TEXT + "us-ascii", "", "Grüße"), {"text": "Grüße"}),
    "Latin-1 that is Windows": (_lines(TEXT + "iso-8859-1", "", "“5 €”".encode("cp1252")), {"text": "“5 €”"}),
    "UTF-8 that is Latin-1": (
        _lines(TEXT + "utf-8", "", "Grüße aus Göteborg".encode("latin-1")),
        {"text": "Grüße aus Göteborg"},
    ),
    "UTF-8 that is cut": (_lines(TEXT + "utf-8", "", "Grüße ü".encode()[:-1]), {"text": "Grüße \ufffd"}),
    "quotes around nothing": (_lines(TEXT + '"', "", "words"), {"text": "words"}),
    "a type that is none": (_lines("Content-Type: ;;;=; text", "", "words"), {"text": "words"}),
    "a type of one word": (_lines("Content-Type: text", "", "words"), {"text": "words"}),
    "an encoding that is none": (_lines("Content-Transfer-Encoding: 9bit", "", "words"), {"text": "words"}),
    "garbage for base64": (_lines(TEXT + "utf-8", B64, "", "####d29y!!ZHM", ")))"), {"text": "words"}),
    "base64 that is cut": (_lines(TEXT + "utf-8", B64, "", "d29yZHM"), {"text": "words"}),
    "quoted-printable that is cut": (
        _lines("Content-Transfer-Encoding: quoted-printable", "", "w=6Frds=", "=", "=Z"),
        {},
    ),
    "no boundary is named": (
        _lines("Content-Type: multipart/mixed", "", "--b", "", "words", "--b", *PDF, "--b--"),
        {"text": "words", "files": [("unnamed.pdf", b"%PDF")]},
    ),
    "another boundary is named": (
        _lines('Content-Type: multipart/mixed; boundary="c"', "", "--b", "", "words", "--b", *PDF, "--b--"),
        {"text": "words", "files": [("unnamed.pdf", b"%PDF")]},
    ),
    "a boundary and none there": (
        _lines('Content-Type: multipart/mixed; boundary="b"', "", "words"),
        {"text": "words"},
    ),
    "no last boundary": (_mixed(["", "words"], PDF, end=False), {"text": "words", "files": [("unnamed.pdf", b"%PDF")]}),
    "a boundary of signs": (_mixed(["", "words"], boundary="(.*)+[?'"), {"text": "words"}),
    "an empty multipart": (_mixed(), {}),
    "alternatives within related": (
        _mixed(
            [
                'Content-Type: multipart/alternative; boundary="a"',
                "",
                "--a",
                "",
                "words",
                "--a",
                "Content-Type: text/html",
                "",
                "<p>words",
                "--a--",
            ],
            ['Content-Type: image/png; name="l.png"', B64, "", "iVBORw=="],
            kind="related",
        ),
        {"text": "words", "html": "<p>words", "files": [("l.png", b"\x89PNG")]},
    ),
    "a list's footer": (_mixed(["", "words"], [TEXT + "utf-8", "", "-- list"]), {"text": "words\n-- list"}),
    "a mail in a mail": (
        _mixed(["", "see below"], ["Content-Type: message/rfc822", "", "Subject: in/side", "", "inner"]),
        {"text": "see below", "files": [("in_side.eml", b"Subject: in/side\r\n\r\ninner")]},
    ),
    "nothing but a mail in a mail": (
        _lines("Subject: out", "Content-Type: message/rfc822", "", "Subject: in", "", "inner"),
        {"subject": "out", "text": "inner", "files": [("in.eml", b"Subject: in\r\n\r\ninner")]},
    ),
    "a mail in base64 in a mail": (
        _lines("Content-Type: message/rfc822", B64, "", base64.b64encode(b"Subject: in\r\n\r\ninner")),
        {"text": "inner"},
    ),
    "a bounce": (
        _mixed(
            ["", "It did not arrive."],
            ["Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx", "", "Action: failed"],
            kind="report",
        ),
        {
            "text": "It did not arrive.",
            "files": [("unnamed.txt", b"Reporting-MTA: dns; mx\r\n\r\nAction: failed")],
        },
    ),
    "uuencode": (
        _lines("Subject: x", "", "before", "begin 644 ../plan b.txt", "#0V%T", "`", "end", "after"),
        {"text": "before\nafter", "files": [("plan b.txt", b"Cat")]},
    ),
    "uuencode without an end": (_lines("", "begin 644 plan.txt", "#0V%T"), {"text": "begin 644 plan.txt\n#0V%T"}),
    "a file without a name": (_mixed(["Content-Disposition: attachment", "", "x"]), {"files": [("unnamed.txt", b"x")]}),
    "a file with a path": (
        _mixed(['Content-Disposition: attachment; filename="C:\\\\temp\\\\..\\\\plan.txt"', "", "x"]),
        {"files": [("plan.txt", b"x")]},
    ),
    "a file's name in pieces": (
        _mixed(["Content-Disposition: attachment; filename*1*=%BCne.txt; filename*0*=utf-8''Pl%C3", "", "x"]),
        {"files": [("Plüne.txt", b"x")]},
    ),
    "a file's name in an encoded word": (
        _mixed(['Content-Type: text/plain; name="=?utf-8?q?Pl=C3=A4ne.txt?="', "", "x"]),
        {"files": [("Pläne.txt", b"x")]},
    ),
    "a file's name of raw bytes": (
        _mixed(["Content-Disposition: attachment; filename=Pläne.txt".encode("latin-1"), "", "x"]),
        {"files": [("Pläne.txt", b"x")]},
    ),
    "a file's name that cannot be": (
        _mixed(["Content-Disposition: attachment; filename*=nonsense'x'%FF%00%0A..", "", "x"]),
        {},
    ),
    "a name is given twice": (
        _mixed(["Content-Type: text/plain; name=a.txt; name=b.txt", "", "x"]),
        {"files": [("a.txt", b"x")]},
    ),
    "a quote that is never closed": (
        _mixed(['Content-Type: text/plain; name="a.txt', "", "x"]),
        {"files": [("a.txt", b"x")]},
    ),
    "ten thousand headers": (b"X: y\r\n" * 10_000 + b"\r\nwords", {"subject": ""}),
    "a header of a megabyte": (b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\nwords", {}),
    "ten thousand parts": (_mixed(*[["", "x"]] * 10_000), {}),
    "a thousand levels": (_deep(1_000), {}),
    "twenty levels": (_deep(20), {"text": "deep words\n"}),
    "a hundred mails in one another": (b"Content-Type: message/rfc822\r\n\r\n" * 100 + b"\r\nwords", {}),
    **{
        f"the date {date!r}": (f"Date: {date}\r\n\r\n".encode(), {"date": None})
        for date in ("someday", "", "99 Feb 2026 25:61:61 +9999", "Fri, 31 Dec 9999 23:59:59 -1200")
    },
    "a date of no zone": (
        b"Date: Sat, 28 Nov 2026 01:00:00 -0000\r\n\r\n",
        {"date": datetime(2026, 11, 28, 1, tzinfo=UTC)},
    ),
}
