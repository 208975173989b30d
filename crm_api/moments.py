"""A time as somebody writes it in a request: with a time zone, and never a number, which pydantic would take, too."""

import re
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_NUMBER = re.compile(r"\s*[-+]?[\d._]+(e[-+]?\d+)?\s*", re.IGNORECASE)


def _is_written(value: object) -> object:
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError("Write a time like 2026-11-24T08:00:00+01:00.")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_is_written)]
