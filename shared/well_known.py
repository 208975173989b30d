"""Passwords that are guessed first: from lists, keyboards and counting, and from what one knows of their owner.

NIST SP 800-63B, section 3.1.1.2: compare with values that are commonly used, expected or compromised, and with words of
the context; ask for no signs of this or that kind.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_KEYBOARD = (
    *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn"),
    *("abcdefghijklmnopqrstuvwxyz", "0123456789", "qazwsxedcrfvtgbyhnujmikolp", "zaq12wsxcde34rfvbgt5"),
    *(
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
        "zaq12wsxcde34rfvbgt56yhnmju7",
        "1q2w3e4r5t6y7u8i9o0p",
        "q1w2e3r4t5y6u7i8o9p0",
    ),
)
_LINES = tuple(line * 2 for line in (*_KEYBOARD, *(line[::-1] for line in _KEYBOARD)))
_LEET = str.maketrans("013457@$!", "oleastasi")
_MOST_WORDS = 2  # that everybody uses: three or four of them, put together by chance, are no longer guessed
_FEW = 5  # different characters
_SHORT = 8  # what is repeated and no longer than this
_LONGEST = 128  # a longer one is looked at no further than that
_LONGEST_WORD = 26
_IMPOSSIBLE = 10_000


def is_well_known(secret: str, context: Iterable[str] = ()) -> bool:
    """context: names, addresses and whatever else is known of whose it is."""
    plain = _seen(unicodedata.normalize("NFKC", secret).casefold())[:_LONGEST]
    own = frozenset(word for text in context for word in _words(text))
    letters = re.sub(r"[013457@$!]", lambda sign: sign[0].translate(_LEET), plain)
    among = re.sub(r"(?<=[a-z])[013457@$!]+(?=[a-z])", lambda sign: sign[0].translate(_LEET), plain)  # p4$$w0rd
    _, common = _lists()
    if re.sub(r"[\W_]", "", plain) in common:  # p a s s w o r d
        return True
    return any(way in common or _is_made_of(way, own) for way in {plain, _unit(plain), letters, among})


def _seen(text: str) -> str:
    """Without what stands in it unseen."""
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


def repeats(secret: str) -> bool:
    """The same few signs over and over."""
    return len(set(secret)) < _FEW or len(_unit(secret)) < min(_SHORT, len(secret))


def _unit(text: str) -> str:
    """What it repeats; itself if it does not."""
    return text[: (text + text).find(text, 1)] if text else text


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in re.split(r"[\W_]+", plain) if len(word) > 2]


@lru_cache(1)
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """Placeholders: what stands in examples until somebody puts a secret in its place; and what is used most."""
    lines = Path(__file__).with_name("well_known_passwords.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if not line.startswith("#")]
    end = words.index("")
    return frozenset(words[:end]), frozenset(words[end + 1 :])


def _is_made_of(text: str, own: frozenset[str]) -> bool:
    """Whether it falls apart into placeholders, words of the context, at most two common words, and counting."""
    if _is_line(re.sub(r"[\W_]", "", text)):
        return True
    words = 0
    for run in re.findall(r"[^\W\d_]+|\d+", text):
        cost = _cost_of_digits(run, own) if run.isdigit() else _cost_of_letters(run, own)
        words += _IMPOSSIBLE if cost is None else cost
    return words <= _MOST_WORDS


def _cost_of_digits(run: str, own: frozenset[str]) -> int | None:
    """A year, a short number, counting, or the same again."""
    return 0 if len(run) <= 4 or run in own or _is_line(run) or len(_unit(run)) < len(run) else None


def _cost_of_letters(run: str, own: frozenset[str]) -> int | None:
    """How many common words it takes, beside the rest; None if it cannot be done."""
    placeholders, common = _lists()
    costs = [0, *[_IMPOSSIBLE] * len(run)]
    for end in range(1, len(run) + 1):
        for start in range(max(0, end - _LONGEST_WORD), end):
            part = run[start:end]
            if part in placeholders or part in own or _is_line(part):
                costs[end] = min(costs[end], costs[start])
            elif part in common:
                costs[end] = min(costs[end], costs[start] + 1)
    return costs[-1] if costs[-1] < _IMPOSSIBLE else None


def _is_line(part: str) -> bool:
    """Four or more that stand side by side on a keyboard, or follow each other."""
    return len(part) >= 4 and any(part in line for line in _LINES)
