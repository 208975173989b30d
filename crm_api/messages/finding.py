"""Finding messages by words of their subject and by whom they went to, as fast among a million as among ten.

message_word holds the folded words of each subject and the address of each delivery, in small letters. A query fits
a message when each of its words begins one of the message's words or addresses, or when an address begins with the
whole query. A beginning that few entries have is read from the index by word; if all are common, the newest messages
are looked at one after the other, which soon fills a page. What was just written waits to be filed in message_word
(see crm_api.messages.filing) and is looked through.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, func, intersect, or_, union, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from crm_api.customers.words import MAX_QUERY_WORDS, address_words, end_of, needed_words, same_look, words_of
from crm_api.messages.models import Message, MessageWord, WaitingWords

AT_ONCE = 500  # words or addresses in one row that waits
FEW = 50_000  # entries that are read and brought together in some 30 ms


def words_to_find(subject: str, addresses: Iterable[str]) -> set[str]:
    """What a message is found by; an address as it begins, not its parts."""
    return {*_words_of_subject(subject), *(word for address in addresses for word in address_words(address))}


def waiting_rows(message_id: UUID, subject: str, addresses: Sequence[str], first_part: int = 0) -> list[dict[str, Any]]:
    """Rows of WaitingWords, each with so few addresses that filing it keeps nobody waiting."""
    words = sorted(words_to_find(subject, addresses))
    return [
        {"message_id": message_id, "part": first_part + number, "words": "".join(f"\n{word}" for word in some)}
        for number, some in enumerate(words[start : start + AT_ONCE] for start in range(0, len(words), AT_ONCE))
    ]


@lru_cache(maxsize=1000)
def _words_of_subject(subject: str) -> frozenset[str]:
    """Most letters have the subject of another: to fold one takes longer than all else that finding costs."""
    return frozenset(words_of([subject]))


def fitting(session: Session, query: str) -> ColumnElement[bool]:
    """The condition on Message."""
    ways = _ways(query)
    if not ways:
        return false()  # only signs: no word to look for
    chosen = [ids for way in ways if (ids := _few(session, way)) is not None]
    if len(chosen) < len(ways):
        return or_(*(and_(*(_has(col(Message.id), beginning) for beginning in way)) for way in ways))
    return col(Message.id).in_(union(*chosen) if len(chosen) > 1 else chosen[0])


def _ways(query: str) -> list[list[str]]:
    """Lists of beginnings; to have all of one list is enough. “Ek 2026-11” → [["ek", "2026", "11"]]."""
    whole = same_look(query.replace("\0", " "))  # no database text holds NUL
    if "@" in whole:
        return [[whole]]
    words = needed_words(query)
    ways = [words[:MAX_QUERY_WORDS]] if words else []
    if words and whole not in words and len(whole.split()) == 1:
        ways.append([whole])  # perhaps the beginning of an address
    return ways


def _few(session: Session, beginnings: Sequence[str]) -> Any | None:
    """A select of the ids of messages that have all these; None if every one of them is common."""
    rare = [each for each in beginnings if _is_rare(session, each)]
    if not rare:
        return None
    ids: Any = select(intersect(*map(_ids, rare)).subquery().c.message_id) if len(rare) > 1 else _ids(rare[0])
    common = [each for each in beginnings if each not in rare]
    if not common:
        return ids
    (number,) = ids.subquery().c
    return select(number).where(*(_has(number, each) for each in common))


def _is_rare(session: Session, beginning: str) -> bool:
    entries = _ids(beginning).limit(FEW + 1).subquery()
    return session.exec(select(func.count()).select_from(entries)).one() <= FEW


def _ids(beginning: str) -> Any:
    """Of messages of which a word or address begins so; perhaps some twice."""
    filed = select(MessageWord.message_id).where(_begins(MessageWord, beginning))
    waiting = select(WaitingWords.message_id).where(_begins(WaitingWords, beginning))
    return select(union_all(filed, waiting).subquery().c.message_id)


def _has(message_id: Any, beginning: str) -> ColumnElement[bool]:
    def among(table: Any) -> ColumnElement[bool]:
        row = aliased(table)
        its = select(row.message_id).where(row.message_id == message_id, _begins(row, beginning))
        return its.correlate_except(row).exists()

    return or_(among(MessageWord), among(WaitingWords))


def _begins(row: Any, beginning: str) -> ColumnElement[bool]:
    if hasattr(row, "words"):
        return row.words.contains(f"\n{beginning}", autoescape=True)  # type: ignore[no-any-return]
    return and_(row.word >= beginning, row.word < end_of(beginning))
