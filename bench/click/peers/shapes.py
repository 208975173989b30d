"""What both peers take: the finished letter, checked by pydantic. Posthaste fills in the fields itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, StringConstraints

Line = Annotated[str, StringConstraints(min_length=1, max_length=998)]


class Letter(BaseModel):
    to: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]
    name: Line
    subject: Line
    text: str
    html: str


class Taken(BaseModel):
    status: str = "taken"
