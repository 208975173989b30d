"""What happened to one delivery, hop by hop, in words; where it is; and why it waits."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from crm_api.messages.models import Attempt, Delivery, DeliveryEntry, Message
from crm_api.messages.states import State
from shared.clock import now
from shared.lanes import Lane
from shared.topology import DEAD_QUEUE, lane_queue

_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")


@dataclass(frozen=True, slots=True)
class Step:
    """One line. kind chooses the icon; talk holds lines {ms, who, text}; ahead: still to come."""

    at: datetime
    kind: str
    title: str
    detail: str = ""
    state: State | None = None
    talk: list[dict[str, Any]] = field(default_factory=list)
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Station:
    """One of the five stations of a letter's way. at: when it got there; gap: it waits before the next one."""

    label: str
    at: datetime | None
    note: str
    state: State
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Why:
    title: str
    sentences: list[str]
    state: State
    next_at: datetime | None = None
    until: datetime | None = None


def ordinal(number: int) -> str:
    return _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"


def room_of(worker: str) -> str:
    room, _, number = worker.rpartition("/")
    return f"worker {number} in mail room {room}" if room else f"worker {worker}"


def attempts_of(session: Session, delivery: Delivery) -> list[Attempt]:
    rows = select(Attempt).where(Attempt.delivery_id == delivery.id)
    return list(session.exec(rows.order_by(col(Attempt.generation), col(Attempt.attempt))))


def steps(session: Session, delivery: Delivery, message: Message) -> list[Step]:
    """Oldest first; what is still to come stands last.

    One generation follows the other, whatever the clocks of several hosts say.
    """
    entries = session.exec(
        select(DeliveryEntry).where(DeliveryEntry.delivery_id == delivery.id).order_by(col(DeliveryEntry.id))
    ).all()
    attempts = attempts_of(session, delivery)
    found = _beginning(delivery, message)
    for generation in range(1, delivery.generation + 1):
        here = [entry for entry in entries if entry.generation == generation]
        # the column holds the last time only: who took it back to the beginning wrote the earlier ones down
        confirmed = [_moment(entry.data.get("queued_at")) for entry in here]
        if generation == delivery.generation:
            confirmed.append(delivery.queued_at)
        sent = [step for at in confirmed for step in _confirmed(delivery, at)]
        for attempt in attempts:
            if attempt.generation == generation:
                sent += _try(attempt, newest=attempt is attempts[-1])
        sent += [_found(entry) for entry in here if entry.kind in _FOUND]
        found += sorted(sent, key=lambda step: step.at)
        found += [_by_person(entry) for entry in here if entry.kind in _BY_PERSON]
    return found + _ahead(delivery, message)


def _moment(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _beginning(delivery: Delivery, message: Message) -> list[Step]:
    who = (
        f"{message.author} clicked Send message" if message.via == "page" else f"{message.author} sent it over the API"
    )
    count = "one delivery" if message.planned == 1 else f"{message.planned:,} deliveries"
    found = [
        Step(message.clicked_at, "clicked", who),
        Step(
            message.created_at,
            "committed",
            "Committed to the database",
            f"From here on it cannot be lost. One message, {count}, lane {message.lane}.",
        ),
    ]
    if delivery.state == State.suppressed:
        found.append(
            Step(
                message.created_at,
                "outcome",
                "Not sent: this address takes no mail",
                delivery.reason or "",
                State.suppressed,
            )
        )
    return found


def _confirmed(delivery: Delivery, at: datetime | None) -> list[Step]:
    if at is None:
        return []
    return [Step(at, "confirmed", "Confirmed by the broker", f"Written to disk in {lane_queue(Lane(delivery.lane))}.")]


_BY_PERSON = {
    "cancelled": ("{by} cancelled it", "Nothing was sent.", State.cancelled),
    "retried": ("{by} sent it again", "", State.pending),
    "discarded": ("{by} let it be", f"Taken out of {DEAD_QUEUE}.", State.discarded),
}


def _by_person(entry: DeliveryEntry) -> Step:
    title, detail, state = _BY_PERSON[entry.kind]
    if entry.kind == "retried" and entry.text:
        detail = f"To {entry.text}, no longer to {entry.data.get('address')}."
    return Step(entry.at, entry.kind, title.format(by=entry.by), detail, state)


# what reconciliation found, and did about it: kind → by itself, by a person, state
_FOUND = {
    "requeued": ("Queued again by itself", "{by} queued it again", State.pending),
    "asked": ("The mail room is asked again", "{by} had the mail room asked again", State.pending),
    "given_up": ("Given up", "{by} gave it up", State.failed),
    "lost": ("Lost sight of", "{by} stopped waiting for it", State.unknown),
}


def _found(entry: DeliveryEntry) -> Step:
    by_itself, by_person, state = _FOUND[entry.kind]
    return Step(entry.at, entry.kind, by_person.format(by=entry.by) if entry.by else by_itself, entry.text, state)


_RESULT = {
    "accepted": "Sent. Their server has taken it",
    "deferred": "{try_}: to be tried again",
    "failed": "{try_}: given up",
    "unknown": "{try_}: nobody knows whether it arrived",
}


def _try(attempt: Attempt, newest: bool) -> list[Step]:
    which = f"{ordinal(attempt.attempt)} try"
    route = f", route {attempt.route}" if attempt.route else ""
    found = [
        Step(
            attempt.received_at,
            "received",
            f"Received by {room_of(attempt.worker)}",
            f"{which} on host {attempt.host}{route}.",
        )
    ]
    if attempt.kind is None or attempt.finished_at is None:
        return [*found, Step(attempt.received_at, "talking", "The conversation is going on")]
    state = State(attempt.kind)
    if attempt.talk:
        lines, last = len(attempt.talk), attempt.talk[-1].get("ms", 0)
        tls = f", {attempt.tls}" if attempt.tls else ", not encrypted"
        found.append(
            Step(
                attempt.started_at or attempt.received_at,
                "conversation",
                f"Conversation with {attempt.server or 'their server'}",
                f"{lines} lines, {last:,} ms{tls}",
                state,
                attempt.talk,
            )
        )
    found.append(Step(attempt.finished_at, "outcome", _RESULT[state].format(try_=which), _said(attempt, newest), state))
    return found


def _said(attempt: Attempt, newest: bool) -> str:
    said = [attempt.reason or ""]
    if attempt.queue_id:
        said.append(f"Their queue id is {attempt.queue_id}.")
    elif attempt.reply:
        # many servers repeat the enhanced code at the beginning of their words
        enhanced = "" if attempt.reply.startswith(attempt.enhanced or "") else attempt.enhanced
        words = " ".join(str(word) for word in (attempt.code, enhanced, attempt.reply) if word)
        said.append(f"They said: “{words}”.")
    if newest and attempt.next_at is None and attempt.kind in ("failed", "unknown"):
        said.append(f"It lies in {DEAD_QUEUE} until a person decides.")
    return " ".join(part for part in said if part)


def _ahead(delivery: Delivery, message: Message) -> list[Step]:
    if delivery.state == State.pending and delivery.due_at > now():
        planned = message.send_at is not None and message.send_at == delivery.due_at
        title = "Leaves by itself" if planned else "Leaves when it can no longer be undone"
        return [Step(delivery.due_at, "due", title, state=State.pending, ahead=True)]
    following = []
    if delivery.next_try:
        following = [Step(delivery.next_try, "retry", "Next try, by itself", state=State.pending, ahead=True)]
    if delivery.state == State.deferred:
        following.append(
            Step(delivery.expires_at, "expires", "Gives up if nothing has worked", state=State.pending, ahead=True)
        )
    return following


def way(delivery: Delivery, message: Message, attempts: list[Attempt]) -> list[Station]:
    """Clicked, saved, broker, mail room, their server."""
    state = State(delivery.state)
    here = [attempt for attempt in attempts if attempt.generation == delivery.generation]
    newest = here[-1] if here else None
    waits = state in (State.deferred, State.failed, State.unknown)
    broker = State.accepted if delivery.queued_at else State.pending
    # the mark of an outcome that overtook the relay's own
    if newest and broker == State.pending:
        broker = State.accepted
    room = state if waits else State.accepted if newest else State.pending
    tries = f"{len(here)} tries" if len(here) > 1 else ""
    server = State.accepted if state in (State.accepted, State.bounced) else State.pending
    if state in (State.cancelled, State.suppressed, State.discarded):
        server = state
    return [
        Station("Clicked", message.clicked_at, "", State.accepted),
        Station("Saved", message.created_at, "", State.accepted, gap=broker == State.pending),
        Station("Broker", delivery.queued_at, "", broker, gap=broker == State.accepted and room == State.pending),
        Station("Mail room", newest.received_at if newest else None, tries, room, gap=waits),
        Station("Their server", delivery.done_at if server == State.accepted else None, "", server),
    ]


_WAITS = "Why it waits"
_MENDED = "Nothing is lost: it goes on by itself as soon as that is mended."


def why(delivery: Delivery, held_up: str | None = None) -> Why | None:
    """Why it waits or did not go, what happens next, and when; None while all is well.

    held_up: what is wrong with the system and stands in its way (monitoring.words).
    """
    state, reason = State(delivery.state), delivery.reason or ""
    match state:
        case State.pending | State.queued if held_up and delivery.due_at <= now():
            return Why(_WAITS, [held_up, _MENDED], State.deferred, until=delivery.expires_at)
        case State.deferred:
            following = [held_up, _MENDED] if held_up else ["Nothing need be done: it tries again by itself."]
            sentences = [reason, *(sentence for sentence in following if sentence not in reason)]
            return Why(_WAITS, sentences, state, delivery.next_try, delivery.expires_at)
        case State.failed:
            return Why("Why it was not sent", [reason, "It stays here until somebody decides."], state)
        case State.unknown if delivery.next_at:
            return Why(
                "What is not known",
                [reason, "It is sent once more by itself, under the same Message-ID, so that a mailbox can tell."],
                state,
                delivery.next_try,
            )
        case State.unknown:
            return Why(
                "What is not known",
                [reason, "Ask the recipient, or send it again and risk that it arrives twice."],
                state,
            )
        case State.suppressed:
            return Why("Why it was not sent", [reason, "Send it anyway if the address is good again."], state)
        case State.bounced:
            return Why("Why it came back", [reason], state)
        case _:
            return None
