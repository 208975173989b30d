"""Paging by key: a cursor holds the sort values of the last row, so page 2,000 costs what page 1 costs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, tuple_

from crm_api.errors import Invalid
from crm_api.limits import MAX_INTEGER
from crm_api.packed import pack, unpack

Item = TypeVar("Item")
Value = str | int | UUID | datetime

# a folded name may be eighteen times as long as the name (U+FDFA), at three bytes each, and a third more in base64
MAX_CURSOR = 16_000
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: str | None = Field(None, description="give it as `cursor` for the next page; null on the last one")


def make_cursor(*values: Value) -> str:
    return pack([value.isoformat() if isinstance(value, datetime) else str(value) for value in values])


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """The values that make_cursor got, as `kinds` (str, int, UUID, datetime); raises Invalid for any other text."""
    try:
        values = unpack(cursor, list[str], MAX_CURSOR)
        return [_read(value, kind) for value, kind in zip(values, kinds, strict=True)]
    except (ValueError, OverflowError) as problem:
        raise Invalid.field("cursor", "This cursor is none. Take `next` from the page before.") from problem


def _read(value: str, kind: type) -> Any:
    """Raises ValueError, or OverflowError for what no database could be asked for."""
    if "\0" in value:  # no database text holds NUL
        raise ValueError(value)
    if kind is datetime:
        # of the first and the last day there are times that have none in UTC
        return datetime.fromisoformat(value).astimezone(UTC)
    if kind is int:
        number = int(value) if len(value) < 20 and value.isascii() and value.isdecimal() else -1
        if not 0 <= number <= MAX_INTEGER:
            raise ValueError(value)
        return number
    return kind(value)


def after(columns: Sequence[Any], values: Sequence[Any], descending: bool) -> ColumnElement[bool]:
    """Rows that come after the given one in the order of the columns (all up, or all down).

    A comparison of rows: written out with OR, neither database would start in the middle of its index.
    """
    row = tuple_(*columns)
    result: ColumnElement[bool] = row < tuple(values) if descending else row > tuple(values)
    return result
