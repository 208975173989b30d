"""The true sentence at the head of a message's page, and other things said about letters."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup

from crm_api.messages.models import Delivery, Message
from crm_api.messages.states import State
from crm_api.web.words import first_word, listed, plural, said
from shared.clock import now
from shared.lanes import Lane

LANES = {
    Lane.urgent: "Urgent: a person or a login code waits",
    Lane.normal: "Normal: notifications and documents",
    Lane.bulk: "Bulk: mailings wait for everything else",
}
NAMED = 3  # up to so many recipients are named, more are counted
_TOGETHER = (State.pending, State.queued, State.accepted, State.failed, State.cancelled, State.discarded)


def took(span: timedelta) -> str:
    """in 0.9 seconds, in 3 minutes"""
    seconds = max(span.total_seconds(), 0)
    if seconds < 10:
        return f"in {seconds:.1f} seconds"
    return f"in {ahead_by(span)}"


def ahead_by(span: timedelta) -> str:
    """nine seconds, 4 minutes, 2 hours, 3 days: the larger unit is enough."""
    seconds = max(round(span.total_seconds()), 0)
    for unit, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit * 2 or (unit == 60 and seconds >= 60):
            return plural(round(seconds / unit), word)
    return plural(seconds, "second")


def since(clicked: datetime, at: datetime) -> str:
    """What stands under a station of the way: +4 ms, +1.2 s, else the clock."""
    span = (at - clicked).total_seconds()
    if span < 0:
        return ""
    if span < 1:
        return f"+{round(span * 1000)} ms"
    return f"+{span:.1f} s" if span < 60 else said(at)


HeldUp = Callable[[str], str | None]  # state → what is wrong with the system and stands in its way


def lede(message: Message, deliveries: list[Delivery], held_up: HeldUp = lambda _: None) -> Markup:
    """deliveries: all of them if they are NAMED or fewer, else any."""
    if message.planned > NAMED or len(deliveries) < message.planned:
        waits = held_up(State.queued) if message.queued + message.deferred else None
        waits = waits or (held_up(State.pending) if message.pending else None)
        return Markup(" ").join([_counted(message), waits] if waits else [_counted(message)])
    together = [
        list(same)
        for state, some in groupby(deliveries, key=lambda row: row.state)
        for same in ([some] if state in _TOGETHER else [[one] for one in some])
    ]
    return Markup(" ").join(_about(message, same, held_up) for same in together)


def _about(message: Message, deliveries: list[Delivery], held_up: HeldUp) -> Markup:
    """deliveries: several only if one sentence can be said of them all."""
    delivery = deliveries[0]
    name = listed([first_word(row.name) or row.address for row in deliveries])
    whose = f"{name}’s server" if delivery.name else f"The server of {name}"
    match State(delivery.state):
        case State.pending:
            return _pending(message, delivery, name, held_up(State.pending))
        case State.queued:
            if waits := held_up(State.queued):
                return Markup("<b>Waits to leave for {}.</b> {}").format(name, waits)
            return Markup("<b>On its way to {}.</b> The broker holds it, and the mail room takes it next.").format(name)
        case State.accepted:
            # only at the first go does the time since the click say anything
            first_go = delivery.generation == 1 and message.send_at is None and len(deliveries) == 1
            how_long = f" {took(delivery.done_at - message.clicked_at)}" if first_go and delivery.done_at else ""
            return Markup("<b>Sent to {}</b>{}.").format(name, how_long)
        case State.deferred:
            next_try = ""
            if ahead := delivery.next_try:
                next_try = f" The next try is at {said(ahead)}, in {ahead_by(ahead - now())}."
            if waits := held_up(State.deferred):
                return Markup("<b>Waits to leave for {}.</b> {}").format(name, waits)
            if delivery.code is None or delivery.code >= 500:
                return Markup("<b>It could not be sent to {} yet.</b>{}").format(name, next_try)
            return Markup("<b>{} asks us to wait.</b>{}").format(whose, next_try)
        case State.failed:
            return Markup("<b>Not sent to {}.</b> It stays here until somebody decides.").format(name)
        case State.unknown:
            return Markup("<b>Nobody knows whether it reached {}.</b> The line broke at the last moment.").format(name)
        case State.suppressed:
            return Markup("<b>Not sent to {}:</b> this address takes no mail.").format(name)
        case State.cancelled:
            return Markup("<b>Cancelled before it left</b> for {}. Nothing was sent.").format(name)
        case State.discarded:
            return Markup("<b>Not sent to {}, and let be.</b>").format(name)
        case State.bounced:
            return Markup("<b>It came back from {}.</b> Their server took it first.").format(whose)


def _pending(message: Message, delivery: Delivery, name: str, waits: str | None) -> Markup:
    if delivery.due_at > now():
        if message.send_at:
            return Markup("<b>Planned for {}</b>, to {}. It leaves by itself.").format(said(delivery.due_at), name)
        return Markup("<b>Leaves for {} in a moment.</b> Until then it can be taken back.").format(name)
    if waits:
        return Markup("<b>Saved, and waits to leave for {}.</b> {}").format(name, waits)
    return Markup("<b>Saved, and about to leave for {}.</b> It goes as soon as the broker takes it.").format(name)


def _counted(message: Message) -> Markup:
    parts = []
    sent = message.accepted
    if sent == message.planned:
        return Markup("<b>Sent to all {:,}.</b>").format(sent)
    parts.append(Markup("<b>Sent to {:,} of {:,}.</b>").format(sent, message.planned))
    under_way = message.pending + message.queued
    needs = message.failed + message.unknown + message.bounced
    closed = message.suppressed + message.cancelled + message.discarded
    if under_way:
        parts.append(Markup("{} under way.").format(plural(under_way, "letter is", "letters are")))
    if message.deferred:
        parts.append(
            Markup("{} to be tried again, by {}.").format(
                plural(message.deferred, "waits", "wait"), "itself" if message.deferred == 1 else "themselves"
            )
        )
    if needs:
        parts.append(Markup("<b>{} a person.</b>").format(plural(needs, "needs", "need")))
    if closed:
        parts.append(Markup("{} not sent.").format(plural(closed, "was", "were")))
    return Markup(" ").join(parts)


def note(message: Message) -> str:
    """Beside the state in a list: how many of several."""
    if message.planned == 1:
        return f"leaves {said(message.send_at)}" if message.send_at and message.send_at > now() else ""
    if message.accepted == message.planned:
        return f"to all {message.planned:,}"
    loudest = getattr(message, message.state)
    verb = {"failed": "not sent", "unknown": "unknown", "deferred": "waiting"}.get(message.state)
    if verb:
        return f"{loudest:,} {verb} of {message.planned:,}"
    return f"{message.accepted:,} sent of {message.planned:,}" if message.accepted else f"{message.planned:,} letters"
