"""What one comparison saw: the database's figures beside the broker's."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import case, func, select, text
from sqlmodel import Session, col

from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages.models import WATCHED, Delivery
from crm_api.messages.states import State
from crm_api.monitoring.models import Process
from crm_api.reconciliation.models import Look
from shared.lanes import Lane
from shared.topology import DEAD_QUEUE, OUTCOMES_QUEUE, WAIT_SECONDS, lane_queue, wait_exchange

HEARD = timedelta(seconds=60)  # what a worker that fell silent had in hand is back in its queue by then
WAIT_QUEUES = [wait_exchange(step) for step in WAIT_SECONDS]
QUEUES = [*(lane_queue(lane) for lane in Lane), *WAIT_QUEUES, OUTCOMES_QUEUE, DEAD_QUEUE]


class LaneFigures(msgspec.Struct):
    """queued, late: what the database knows to be with the broker; late ones have waited for their next try long
    enough. ready, held: what is in the lane's queue, and in hand at the workers."""

    lane: Lane
    queued: int = 0
    late: int = 0
    ready: int = 0
    held: int = 0
    missing: int = 0  # of them the broker cannot have so many
    old: int = 0  # and so many, too, but the ledger may have forgotten whether they were sent

    @property
    def expected(self) -> int:
        return self.queued + self.late


class Figures(msgspec.Struct):
    """reached: whether the broker answered; if not, its figures are 0 and mean nothing. obstacle: why it did not, as
    far as a person can mend it: refused (its users lack a right), missing (a queue was deleted)."""

    lanes: list[LaneFigures]
    reached: bool
    waiting: int = 0  # deliveries whose next try is still to come
    waits: int = 0  # messages in the wait queues
    events: int = 0  # outcomes on their way here
    failures: int = 0  # deliveries that a person has to decide about: failed or unknown, and not tried again
    leaving: int = 0  # decided, and still to be taken out of the dead letters
    dead: int = 0  # messages in the dead-letter queue
    without: int = 0  # failures that have no dead letter
    strangers: int = 0  # dead letters that are no delivery's
    walked_at: datetime | None = None  # when all dead letters were last looked at one by one
    checked: int = 0  # messages whose sums were compared
    unequal: list[UUID] = []  # messages that have more or fewer deliveries than were planned
    obstacle: str = ""

    def of(self, lane: Lane) -> LaneFigures:
        return next(figures for figures in self.lanes if figures.lane == lane)

    @property
    def missing(self) -> int:
        return sum(lane.missing for lane in self.lanes)

    @property
    def old(self) -> int:
        return sum(lane.old for lane in self.lanes)

    @property
    def differences(self) -> int:
        return self.missing + self.old + self.without + self.strangers + len(self.unequal)

    def most_missing(self, lane: Lane) -> int:
        """So many of the lane's deliveries, at least, are nowhere in the broker."""
        if not self.reached or self.events:  # what is on its way here is missing nowhere
            return 0
        one = self.of(lane)
        # a letter that is parked, or late behind one with a longer wait, is in a wait queue
        may_wait = max(0, self.waits - self.waiting)
        return max(0, one.expected - one.ready - one.held - may_wait)


def gather(session: Session, at: datetime, depths: dict[str, int] | None) -> Figures:
    """depths: queue → messages ready, or None if the broker did not answer."""
    figures = Figures([LaneFigures(lane) for lane in Lane], reached=depths is not None)
    watched = text(WATCHED)
    counts = (
        select(col(Delivery.state), col(Delivery.lane), func.count())
        .where(watched, col(Delivery.state).in_([State.queued, State.failed]))
        .group_by(col(Delivery.state), col(Delivery.lane))
    )
    for state, lane, count in session.execute(counts):
        if state == State.queued:
            figures.of(Lane(lane)).queued = count
        else:
            figures.failures += count
    late = func.sum(case((col(Delivery.next_at) <= at, 1), else_=0))
    again = (
        select(col(Delivery.lane), late, func.count(col(Delivery.next_at)), func.count())
        .where(watched, col(Delivery.state).in_([State.deferred, State.unknown]))
        .group_by(col(Delivery.lane))
    )
    for lane, over, waiting, count in session.execute(again):
        figures.of(Lane(lane)).late = over
        figures.waiting += waiting - over
        figures.failures += count - waiting
    figures.leaving = session.scalar(select(func.count()).select_from(DeadLetterRemoval)) or 0
    if depths is not None:
        figures.waits = sum(depths[queue] for queue in WAIT_QUEUES)
        figures.events, figures.dead = depths[OUTCOMES_QUEUE], depths[DEAD_QUEUE]
        held = _held(session, at)
        for one in figures.lanes:
            one.ready, one.held = depths[lane_queue(one.lane)], held[one.lane]
    return figures


def _held(session: Session, at: datetime) -> dict[Lane, int]:
    """What workers say that they have in hand. One of an older version does not say of which lane: then of each."""
    held = dict.fromkeys(Lane, 0)
    rows = select(Process).where(col(Process.kind) == "worker", col(Process.seen_at) > at - HEARD)
    for process in session.scalars(rows):
        by_queue, at_all = process.data.get("held"), process.data.get("in_flight")
        for lane in Lane:
            count = by_queue.get(lane_queue(lane), 0) if isinstance(by_queue, dict) else at_all
            held[lane] += count if isinstance(count, int) else 0
    return held


def to_row(at: datetime, figures: Figures) -> Look:
    return Look(at=at, differences=figures.differences, figures=msgspec.to_builtins(figures))


def from_row(look: Look) -> Figures:
    kept: dict[str, Any] = look.figures
    return msgspec.convert(kept, Figures)


def newest(session: Session) -> Look | None:
    return session.scalars(select(Look).order_by(col(Look.at).desc()).limit(1)).first()
