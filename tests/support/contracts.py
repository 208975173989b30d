"""Values of a contract, made from its own types: what `decode` takes, up to its bounds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from shared.contracts import FIRST_YEAR, LAST_YEAR

# offsets as the wildest zones have them, and beyond
_ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_TIMES = st.datetimes(datetime(FIRST_YEAR, 1, 1), datetime(LAST_YEAR, 12, 31, 23, 59, 59), timezones=_ZONES)
_TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_LONGEST = 40  # of a text; longer ones are slow to make, and tried one by one


def members_of(kind: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """What becomes a message of this contract as JSON."""
    return _of(inspect.type_info(kind))


def _of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, inspect.StructType):
        members = {field.encode_name: _of(field.type) for field in kind.fields if field.required}
        others = {field.encode_name: _of(field.type) for field in kind.fields if not field.required}
        return st.fixed_dictionaries(members, optional=others)
    if isinstance(kind, inspect.IntType):
        assert kind.ge is not None, "every number has bounds"
        assert kind.le is not None, "every number has bounds"
        return st.integers(kind.ge, kind.le) | st.sampled_from([kind.ge, kind.le])
    if isinstance(kind, inspect.StrType):
        if kind.pattern:
            return st.from_regex(kind.pattern, fullmatch=True)
        assert kind.max_length, "every text has a limit"
        return st.text(_TEXT, min_size=kind.min_length or 0, max_size=min(kind.max_length, _LONGEST))
    if isinstance(kind, inspect.DateTimeType):
        return _TIMES.map(lambda moment: moment.isoformat())
    if isinstance(kind, inspect.UUIDType):
        return st.uuids().map(str)
    if isinstance(kind, inspect.EnumType):
        return st.sampled_from([member.value for member in kind.cls])
    if isinstance(kind, inspect.BoolType):
        return st.booleans()
    if isinstance(kind, inspect.NoneType):
        return st.none()
    if isinstance(kind, inspect.UnionType):
        return st.one_of(*(_of(each) for each in kind.types))
    if isinstance(kind, inspect.VarTupleType):
        assert kind.max_length, "every list has a limit"
        return st.lists(_of(kind.item_type), max_size=3)
    if isinstance(kind, inspect.DictType):
        assert kind.max_length, "every table has a limit"
        return st.dictionaries(_of(kind.key_type), _of(kind.value_type), max_size=3)
    raise NotImplementedError(kind)
