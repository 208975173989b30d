"""What is said to people about findings and differences."""

from markupsafe import Markup

from crm_api.reconciliation.models import Finding
from crm_api.reconciliation.service import State
from crm_api.web.words import STATE_WORDS, plural, said
from shared.broker_alarms import COMMAND

# kind → icon
ICONS = {
    "requeued": "i-retry",
    "asked": "i-retry",
    "lost": "s-unknown",
    "failed": "s-failed",
    "removed": "i-check",
    "put_back": "i-check",
    "strangers_removed": "i-trash",
    "sums": "i-check",
    "unequal": "i-alert",
}


def title(finding: Finding) -> str:
    count = finding.count
    letters, ones = plural(count, "letter"), plural(count, "dead letter")
    match finding.kind:
        case "requeued":
            return f"{finding.by} requeued {letters}" if finding.by else f"{letters} requeued by itself"
        case "asked":
            return f"Asked the mail room what came of {letters}"
        case "lost":
            return f"{finding.by} stopped waiting for {letters}"
        case "failed":
            return f"{letters} given up by the broker"
        case "removed":
            return f"{ones} taken out"
        case "put_back":
            return f"{ones} put back"
        case "strangers_removed":
            return f"{finding.by} removed {ones}"
        case "sums":
            return "Figures of a message set right"
        case _:
            return "A message with more or fewer letters than planned"


def detail(finding: Finding) -> str:
    match finding.kind:
        case "requeued":
            return "Lost by the broker. What had been sent already is not sent again."
        case "asked":
            return "Found among the dead letters without an outcome."
        case "lost":
            return "Too long ago to know whether anything was sent: the outcome is unknown."
        case "failed":
            return "A person decides now. The broker’s reason stands on the letter’s page."
        case "removed":
            return "Copies, or letters that had come to another end."
        case "put_back":
            return "For failed letters that the dead-letter queue had lost."
        case "strangers_removed":
            return "Of no letter of ours."
        case "sums":
            return f"{'; '.join(_figures(finding))}."
        case _:
            return "That cannot be set right by itself. Compare it with a backup."


def _figures(finding: Finding) -> list[str]:
    figures = finding.data.get("figures")
    if not isinstance(figures, dict):
        return ["They were not what its letters said"]
    return [f"{STATE_WORDS.get(state, state)} was {was:,} and is {now:,}" for state, (was, now) in figures.items()]


def lede(state: State) -> Markup:
    """The true sentence at the head of the page."""
    if state.at is None:
        return Markup("<b>Nothing has been compared yet.</b> Dispatch does so once a minute while it runs.")
    parts = []
    figures = state.figures
    if figures.missing:
        when = f" They are requeued by themselves about {said(state.requeued_at)}." if state.requeued_at else ""
        parts.append(
            Markup("<b>The broker has lost {}.</b>{} What was sent already is not sent again.").format(
                plural(figures.missing, "letter"), when
            )
        )
    if figures.old:
        parts.append(
            Markup("<b>{} lost too long ago</b> to know whether it was sent: you decide.").format(
                plural(figures.old, "letter was", "letters were")
            )
        )
    if figures.without:
        parts.append(
            Markup("<b>{} no dead letter.</b>").format(plural(figures.without, "failure has", "failures have"))
        )
    if figures.strangers:
        parts.append(
            Markup("<b>{} to no letter of ours.</b>").format(
                plural(figures.strangers, "dead letter belongs", "dead letters belong")
            )
        )
    if figures.unequal:
        parts.append(
            Markup("<b>{} not the letters that were planned.</b>").format(
                plural(len(figures.unequal), "message has", "messages have")
            )
        )
    if not figures.reached and (figures.obstacle or not parts):
        parts.append(OBSTACLES.get(figures.obstacle, OBSTACLES[""]))
    if not parts:
        parts.append(Markup("<b>Everything adds up.</b> Database, broker and dead letters agree."))
    return Markup(" ").join(parts)


OBSTACLES = {
    "": Markup("<b>The broker does not answer</b>, so it cannot be compared. Nothing is lost by that."),
    "refused": Markup(
        "<b>The broker does not let us ask how long its queues are</b>, so it cannot be compared: its users were made "
        "for an older RabbitMQ. Somebody with its administrator’s password runs <code>{}</code>."
    ).format(COMMAND),
    "missing": Markup(
        "<b>A queue of the broker was deleted</b>, so it cannot be compared, and no running part may make it again. "
        "Somebody with its administrator’s password runs <code>{}</code>."
    ).format(COMMAND),
}


REASONS = {
    "rejected": "nobody could read it",
    "delivery_limit": "given back twenty times",
    "expired": "lay too long in a queue",
    "maxlen": "its queue was full",
    "": "put there by hand",
}


def reason(word: str) -> str:
    return REASONS.get(word, word)
