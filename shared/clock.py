"""Time as the product keeps it: aware datetimes in UTC."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
