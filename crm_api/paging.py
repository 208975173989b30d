"""Paging by key: a cursor holds the sort values of the last row, so page 2,000 costs what page 1 costs."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, tuple_

from crm_api.errors import Invalid

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: str | None = Field(None, description="give it as `cursor` for the next page; null on the last one")


def make_cursor(*values: str | UUID | datetime) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain, ensure_ascii=False).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """The values that make_cursor got, as `kinds` (str, UUID, datetime); raises Invalid for any other text."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if len(values) != len(kinds) or any("\0" in value for value in values):  # no database text holds NUL
            raise ValueError(cursor)
        return [
            datetime.fromisoformat(value) if kind is datetime else kind(value)
            for value, kind in zip(values, kinds, strict=True)
        ]
    except (ValueError, TypeError, binascii.Error) as problem:
        raise Invalid.field("cursor", "This cursor is none. Take `next` from the page before.") from problem


def after(columns: Sequence[Any], values: Sequence[Any], descending: bool) -> ColumnElement[bool]:
    """Rows that come after the given one in the order of the columns (all up, or all down).

    A comparison of rows: written out with OR, neither database would start in the middle of its index.
    """
    row = tuple_(*columns)
    result: ColumnElement[bool] = row < tuple(values) if descending else row > tuple(values)
    return result
