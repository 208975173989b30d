"""The three lanes of the mail room: what a person waits for is never behind a mailing."""

from enum import StrEnum


class Lane(StrEnum):
    urgent = "urgent"  # a person or a login code waits
    normal = "normal"  # notifications, documents
    bulk = "bulk"  # mailings
