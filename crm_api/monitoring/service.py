"""Is everything up, and how much waits? Asked by every page and after every change."""

from dataclasses import fields, replace
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import Session, col, select

from crm_api.auth.principal import Principal
from crm_api.messages.models import WATCHED
from crm_api.messages.states import NEEDS_PERSON, OPEN
from crm_api.monitoring import alarms
from crm_api.monitoring.models import Process
from crm_api.monitoring.schemas import Broker, Parts, SystemState
from crm_api.reconciliation.models import Look
from crm_api.remembered import Remembered
from shared.clock import now

ALIVE = timedelta(seconds=15)

_counts: Remembered[tuple[int, int]] = Remembered()
_COUNTED = ", ".join(f"'{state}'" for state in (*OPEN, *NEEDS_PERSON))
_COUNT = text(f"SELECT state, count(*) FROM delivery WHERE {WATCHED} AND state IN ({_COUNTED}) GROUP BY state")  # noqa: S608


def parts(session: Session) -> Parts:
    """Who is alive is asked every time: it is a handful of rows, and a page that is told must not be told old news."""
    alive = session.exec(select(Process).where(col(Process.seen_at) > now() - ALIVE)).all()
    brokers = {str(row.data.get("broker")) for row in alive if row.kind == "dispatch"}
    workers = [row for row in alive if row.kind == "worker" and not row.data.get("stopping")]
    # each room's worker says how many its room should have
    rooms: dict[str, int] = {}
    for row in workers:
        room, of = str(row.data.get("room", row.name.rpartition("/")[0])), row.data.get("workers")
        rooms[room] = max(rooms.get(room, 0), of if isinstance(of, int) else 1)
    return Parts(
        broker=_broker(brokers),
        dispatch_up=any(row.kind == "dispatch" for row in alive),
        mail_room_up=len(workers),
        mail_room_of=max(sum(rooms.values()), len(workers)),
        mail_room_resting=sum(row.data.get("route_state", "open") != "open" for row in workers),
        alarms=alarms.together(row for row in alive if not row.data.get("stopping")),
    )


def system_state(session: Session, console_url: str | None = None, principal: Principal | None = None) -> SystemState:
    """principal: who asks; without the right to mend they are told what is wrong, and not what to do about it."""
    found = parts(session)
    if principal is None or not principal.may("system.mend"):
        found = replace(found, alarms=tuple(replace(alarm, advice=None) for alarm in found.alarms))
    waiting, failed = _counts.get(session, "deliveries", lambda: _deliveries(session))
    return SystemState(
        **{field.name: getattr(found, field.name) for field in fields(Parts)},
        waiting=waiting,
        failed=failed,
        differences=session.exec(select(Look.differences).order_by(col(Look.at).desc()).limit(1)).first() or 0,
        console_url=console_url,
    )


def _broker(seen: set[str]) -> Broker:
    """Several dispatchers may see it differently; one that is connected is enough."""
    for word in ("up", "blocked", "down"):
        if word in seen:
            return word
    return "unknown"


def _deliveries(session: Session) -> tuple[int, int]:
    by_state: dict[str, int] = {row[0]: row[1] for row in session.execute(_COUNT)}
    return sum(by_state.get(s, 0) for s in OPEN), sum(by_state.get(s, 0) for s in NEEDS_PERSON)
