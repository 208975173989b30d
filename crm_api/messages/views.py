"""What the pages show of a message: everything looked up, nothing left for the template to find out."""

from dataclasses import dataclass
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import func
from sqlmodel import Session, col, select

from crm_api.messages import sayings, service, timeline
from crm_api.messages.markdown import parts_of
from crm_api.messages.models import Delivery, Message, MessageAttachment
from crm_api.messages.secret_fields import GONE, has_secret
from crm_api.messages.states import DISCARDABLE, OPEN, RETRYABLE, State
from crm_api.monitoring import words
from crm_api.monitoring.service import parts
from crm_api.web.words import listed, local
from shared.fields import Template, shown
from shared.html_fields import HtmlTemplate

ALL_OPEN = 5  # up to so many deliveries stand open below one another; more are a list with one open
PAGE = 50
MOST_COUNTED = 10_000  # a figure in a tab costs the same however many there are
_ROOM_CHARACTERS = 10

# views of the list: key → (word, states)
VIEWS: dict[str, tuple[str, tuple[State, ...]]] = {
    "all": ("All", ()),
    "under-way": ("Under way", (State.pending, State.queued)),
    "person": ("Need a person", (State.failed, State.unknown, State.bounced)),
    "waiting": ("Waiting to retry", (State.deferred,)),
    "sent": ("Sent", (State.accepted,)),
    "closed": ("Not sent", (State.cancelled, State.discarded, State.suppressed)),
}


@dataclass(frozen=True)
class Tab:
    key: str
    word: str
    count: str
    bad: bool
    current: bool


@dataclass(frozen=True)
class Row:
    message: Message
    to: str
    note: str


@dataclass(frozen=True)
class Fix:
    """What a person typed into a delivery's address field that cannot be taken."""

    delivery_id: UUID
    address: str
    error: str


@dataclass(frozen=True)
class Postmark:
    state: str
    top: str = ""
    bottom: str = ""
    lines: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class DeliveryView:
    delivery: Delivery
    way: list[timeline.Station]
    steps: list[timeline.Step]
    why: timeline.Why | None
    fix: Fix | None

    @property
    def can_cancel(self) -> bool:
        # what the broker may have cannot be taken back
        return self.delivery.state == State.pending and self.delivery.claimed_until is None

    @property
    def can_retry(self) -> bool:
        return self._settled and not self.secret

    @property
    def secret(self) -> bool:
        """Held a link or a code for its recipient alone, and cannot be sent again."""
        return has_secret(self.delivery.fields)

    @property
    def secret_is_gone(self) -> str:
        """Why it cannot be sent again, for a person; empty where that is no question."""
        return GONE if self._settled and self.secret else ""

    @property
    def _settled(self) -> bool:
        return self.delivery.state in RETRYABLE and self.delivery.next_at is None

    @property
    def can_discard(self) -> bool:
        return self.delivery.state in DISCARDABLE and self.delivery.next_at is None


@dataclass(frozen=True)
class MessageView:
    message: Message
    lede: Markup
    deliveries: list[Delivery]
    following: str | None
    opened: dict[UUID, DeliveryView]
    attachments: list[MessageAttachment]
    letter: "LetterView"
    tabs: list[Tab]
    state: str | None
    missing: int  # letters that the broker has lost

    @property
    def many(self) -> bool:
        return self.message.planned > ALL_OPEN

    @property
    def undoable(self) -> bool:
        return self.message.pending > 0

    @property
    def lane(self) -> str:
        return sayings.LANES[self.message.lane]  # type: ignore[index]


@dataclass(frozen=True)
class LetterView:
    """The letter as one recipient gets it. html: foreign HTML is shown in a frame of its own."""

    delivery: Delivery | None
    to: str
    subject: str
    body: Markup | None
    text: str
    framed: bool
    postmark: Postmark


def tabs(session: Session, current: str) -> list[Tab]:
    """Each figure stops counting at MOST_COUNTED."""
    return [
        Tab(key, word, _capped(_count_messages(session, states)), key == "person", key == current)
        for key, (word, states) in VIEWS.items()
    ]


def _count_messages(session: Session, states: tuple[State, ...]) -> int:
    rows = select(Message.id).limit(MOST_COUNTED + 1)
    if states:
        rows = rows.where(col(Message.state).in_(states))
    return int(session.execute(select(func.count()).select_from(rows.subquery())).scalar_one())


def _capped(count: int) -> str:
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


def list_rows(session: Session, messages: list[Message]) -> list[Row]:
    names = service.recipients_summary(session, [message.id for message in messages])
    return [
        Row(message, listed(names.get(message.id, []), message.planned), sayings.note(message)) for message in messages
    ]


def message_view(
    session: Session,
    message: Message,
    *,
    state: str | None = None,
    cursor: str | None = None,
    opened: UUID | None = None,
    fix: Fix | None = None,
    missing: int = 0,
) -> MessageView:
    states = ",".join(VIEWS[state][1]) if state in VIEWS else None
    rows, following = service.deliveries(session, message.id, state=states or None, cursor=cursor, limit=PAGE)
    many = message.planned > ALL_OPEN
    chosen = next((row for row in rows if row.id == opened), rows[0] if rows else None)
    shown = [chosen] if many and chosen else rows[:ALL_OPEN] if not many else []
    system = parts(session) if any(row.state in OPEN for row in rows) else None

    def held_up(state: str) -> str | None:
        return words.held_up(system, state) if system else None

    views = {row.id: _delivery_view(session, message, row, fix, held_up(row.state)) for row in shown}
    return MessageView(
        message=message,
        lede=sayings.lede(message, rows, held_up),
        deliveries=rows,
        following=following,
        opened=views,
        attachments=service.attachments(session, message.id),
        letter=letter_view(session, message, chosen),
        tabs=_delivery_tabs(message, state or "all") if many else [],
        state=state,
        missing=missing,
    )


def _delivery_view(
    session: Session, message: Message, delivery: Delivery, fix: Fix | None, held_up: str | None
) -> DeliveryView:
    return DeliveryView(
        delivery=delivery,
        way=timeline.way(delivery, message, timeline.attempts_of(session, delivery)),
        steps=timeline.steps(session, delivery, message),
        why=timeline.why(delivery, held_up),
        fix=fix if fix and fix.delivery_id == delivery.id else None,
    )


def _delivery_tabs(message: Message, current: str) -> list[Tab]:
    def count(states: tuple[State, ...]) -> int:
        return sum(getattr(message, state) for state in states) if states else message.planned

    return [
        Tab(key, word, f"{count(states):,}", key == "person", key == current)
        for key, (word, states) in VIEWS.items()
        if key == "all" or key == current or count(states)
    ]


def letter_view(session: Session, message: Message, delivery: Delivery | None) -> LetterView:
    """Without a delivery the fields stand as they were written."""
    values = shown(delivery.fields) if delivery else {}
    body = None
    if message.markdown is not None:
        # Markdown's own output has no raw HTML, and each value is escaped
        body = Markup(_fill(HtmlTemplate, parts_of(message.markdown).html, values))  # noqa: S704
    return LetterView(
        delivery=delivery,
        to=(f"{delivery.name}, {delivery.address}" if delivery.name else delivery.address) if delivery else "",
        subject=_fill(Template, message.subject, values),
        body=body,
        text=_fill(Template, message.text, values) if body is None else "",
        framed=body is None and message.html is not None,
        postmark=_postmark(session, delivery),
    )


def _fill(kind: type[Template], source: str, values: dict[str, str]) -> str:
    """A value may be missing where the address was changed later: then the field's name stands in for it."""
    template = kind(source)
    bare = {part.name for part in template.parts if not isinstance(part, str) and part.default is None}
    return template.fill(values | {name: f"[{name}]" for name in bare if not values.get(name)})


def _postmark(session: Session, delivery: Delivery | None) -> Postmark:
    match State(delivery.state) if delivery else State.pending:
        case State.accepted | State.bounced:
            assert delivery is not None
            attempts = timeline.attempts_of(session, delivery)
            room = attempts[-1].worker.rpartition("/")[0] if attempts else ""
            at = local(delivery.done_at or delivery.created_at)
            lines = (f"{at.day} {at:%b}".upper(), f"{at:%H:%M}")
            return Postmark("accepted", "POSTHASTE", room.upper() if len(room) <= _ROOM_CHARACTERS else "", lines)
        case State.failed | State.suppressed | State.discarded | State.cancelled as state:
            return Postmark(state, lines=("NOT", "SENT"))
        case State.unknown:
            return Postmark("unknown", lines=("NOBODY", "KNOWS"))
        case _:
            return Postmark("pending", lines=("NOT YET", "SENT"))


def foreign_html(message: Message, delivery: Delivery | None) -> str:
    return _fill(HtmlTemplate, message.html or "", shown(delivery.fields) if delivery else {})
