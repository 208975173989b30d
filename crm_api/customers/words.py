"""Words that customers are found and sorted by: without case, accents and marks, the same on both databases."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

from shared.addresses import address_key

MAX_WORD = 40  # characters; longer ones are found by their beginning
MAX_WORDS = 500  # of one customer
MAX_QUERY_WORDS = 6

_WORD = re.compile(r"[^\W_]+")
# letters that Unicode does not take apart, as people type them without their marks
_PLAIN = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "ŋ": "n", "æ": "ae", "œ": "oe", "þ": "th"}
)
# scripts that put no space between words: a word is found from each of its characters on
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")
# characters without a look: soft hyphen, marks of direction, spaces without width, fillers
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]"
)
# those that join or part letters are seen between letters that have joined forms, and in emoji, but not beside these
_JOINERS = re.compile("(?<=[\u0000-\u052f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\u0000-\u052f]|$)|^[\u200c\u200d]+")


def fold(text: str) -> str:
    """“Müller-LÜDENSCHEIDT ” → “muller-ludenscheidt”. Folding twice is folding once."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = _JOINERS.sub("", _UNSEEN.sub("", text))
    for _ in range(3):  # case, marks and compatibility forms hide one another; two rounds settle all of Unicode
        decomposed = unicodedata.normalize("NFKD", folded.casefold())
        folded = "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_PLAIN)
    return " ".join(folded.split())


def same_look(text: str) -> str:
    """What texts that look the same have in common, but for capitals: full width, ligatures, marks apart or together,
    characters that nobody sees. Accents stay. Doing it twice is doing it once."""
    if text.isascii():
        return " ".join(text.lower().split())
    for _ in range(2):
        text = _JOINERS.sub("", _UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
        text = unicodedata.normalize("NFKC", text.lower())
    return " ".join(text.split())


def address_words(address: str) -> set[str]:
    """What an address is looked for by, as a whole: as it is read, and as the DNS knows its domain."""
    return {address.lower()} if address.isascii() else {same_look(address), address_key(address)}


def split(text: str) -> list[str]:
    """Its words, folded, as they stand."""
    return [word[:MAX_WORD] for word in _WORD.findall(fold(text))]


def words_of(texts: Iterable[str]) -> set[str]:
    """All that a customer with these texts is found by."""
    found: dict[str, None] = {}
    for text in texts:
        for word in split(text):
            found[word] = None
            if _UNSPACED.search(word):
                found |= dict.fromkeys(word[start:] for start in range(1, len(word)))
    return set(list(found)[:MAX_WORDS])


def needed_words(query: str) -> list[str]:
    """Its words, each once, but for those that begin another: "demir d" asks for no more than "demir" does."""
    words = dict.fromkeys(split(query))
    # sorted, a word that begins others stands right before one of them
    begins = {word for word, following in pairwise(sorted(words)) if following.startswith(word)}
    return [word for word in words if word not in begins]


def query_words(query: str) -> list[str]:
    """What a query asks for; every one must begin one of the customer's words."""
    needed = needed_words(query)
    # a single letter tells little and costs much: it counts only where there is nothing better
    longer = [word for word in needed if len(word) > 1 or _UNSPACED.search(word)]
    return (longer or needed[:2])[:MAX_QUERY_WORDS]


def end_of(prefix: str) -> str:
    """The first text that is after every text with this prefix, byte by byte in UTF-8."""
    for length in range(len(prefix), 0, -1):
        following = ord(prefix[length - 1]) + 1
        if following == 0xD800:
            following = 0xE000  # surrogates are no characters
        if following <= 0x10FFFF:
            return prefix[: length - 1] + chr(following)
    return chr(0x10FFFF) * MAX_WORD
