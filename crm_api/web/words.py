"""How times, figures and states are said to people.

Times are in the reader's zone: app.js puts its name into the cookie `timezone`; without it, the server's own.
"""

from contextvars import ContextVar
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup
from starlette.requests import Request

from shared.clock import now

ZONE_COOKIE = "timezone"
_zone: ContextVar[tzinfo | None] = ContextVar("zone", default=None)

# state of a delivery → the word that people read
STATE_WORDS = {
    "pending": "Pending",
    "queued": "Queued",
    "accepted": "Sent",
    "deferred": "Waiting to retry",
    "failed": "Failed",
    "unknown": "Outcome unknown",
    "suppressed": "Suppressed",
    "cancelled": "Cancelled",
    "discarded": "Discarded",
    "bounced": "Bounced",
}


def zone_of(request: Request) -> tzinfo | None:
    """The reader's time zone, or None for the server's."""
    name = request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/")
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # any text may stand in a cookie
        return None


def use_zone(zone: tzinfo | None) -> None:
    _zone.set(zone)


def local(value: datetime) -> datetime:
    return value.astimezone(_zone.get())


def from_local(value: datetime) -> datetime:
    """A naive time as the reader's clock shows it."""
    zone = _zone.get()
    if value.tzinfo:
        return value
    return value.replace(tzinfo=zone) if zone else value.astimezone()


def said(value: datetime, today: datetime | None = None) -> str:
    """14:02 today, Mon 16:20 within six days, 3 Nov, 3 Nov 2025."""
    here, today = local(value), local(today or now())
    days = (today.date() - here.date()).days
    if days == 0:
        return f"{here:%H:%M}"
    if abs(days) < 7:
        return f"{here:%a %H:%M}"
    return f"{here.day} {here:%b}" if here.year == today.year else f"{here.day} {here:%b %Y}"


def said_fully(value: datetime) -> str:
    here = local(value)
    return f"{here:%A} {here.day} {here:%B %Y}, {here:%H:%M:%S}"


def when(value: datetime | None, fine: bool = False, clock: bool = False) -> Markup:
    """A <time>. clock: always with the hour, as in "3 Nov, 14:02". fine: with milliseconds, for a letter's steps."""
    if value is None:
        return Markup("")
    here, today = local(value), local(now())
    text = said(value)
    if fine:
        moment = f"{here:%H:%M:%S}.{here.microsecond // 1000:03}"
        text = moment if here.date() == today.date() else f"{here.day} {here:%b}, {moment}"
    elif clock and ":" not in text:
        text = f"{text}, {here:%H:%M}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        here.isoformat(timespec="milliseconds"), said_fully(value), text
    )


def number(value: int) -> str:
    """251,940, never 252k."""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """1 letter, 2,418 letters."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def size(count: int) -> str:
    """842 kB, 1.3 MB: as a file manager says it (1 kB is 1,000 bytes)."""
    if count < 1000:
        return plural(count, "byte")
    if count < 999_500:
        return f"{round(count / 1000):,} kB"
    return f"{count / 1_000_000:.1f} MB"


def code(text: str) -> Markup:
    """`word` becomes code, as in the descriptions of the API."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def initials(name: str) -> str:
    """Marta Lindqvist → ML; at most two letters."""
    words = [word for word in name.split() if word[0].isalnum()]
    chosen = [words[0], words[-1]] if len(words) > 1 else words or [name.strip() or "?"]
    return "".join(word[0].upper() for word in chosen)


def first_word(name: str) -> str:
    """What a sentence calls a person: Marta Lindqvist and Lindqvist, Marta → Marta; an address stays whole."""
    last, comma, first = name.partition(", ")
    words = (first if comma else last).split()
    return words[0] if words and "@" not in name else name


def listed(names: list[str], total: int | None = None) -> str:
    """Ida, Tom and Rut; with a larger total: Ida, Tom, Rut and 1,204 more."""
    more = (total or len(names)) - len(names)
    if more > 0:
        return f"{', '.join(names)} and {more:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
