"""What is said when messages do not go on: in the banner of every page, and on the page of one that waits."""

from dataclasses import dataclass

from crm_api.messages.states import State
from crm_api.monitoring.alarms import ShownAlarm
from crm_api.monitoring.schemas import Parts


@dataclass(frozen=True, slots=True)
class Banner:
    """advice: only for those who may mend it."""

    title: str
    text: str
    advice: str = ""


_DISPATCH = "The part that hands them to the mail room is not running."
_DOWN = "The broker is down."
_BLOCKED = "The broker is short of memory or disk space and takes none for now."
_NO_WORKER = "No worker of the mail room is running."


def banners(system: Parts) -> list[Banner]:
    """The worst first; none if all is well."""
    found = [banner] if (banner := _stopped(system)) else []
    return found + [_of_alarm(system, alarm) for alarm in system.alarms]


def _stopped(system: Parts) -> Banner | None:
    kept = "Letters are kept, not sent."
    back = "Nothing is lost: they leave by themselves as soon as it is back."
    if not system.dispatch_up:
        return Banner(kept, f"{_DISPATCH} {back}")
    if system.broker == "down":
        return Banner(
            kept, f"{_DOWN} You can go on writing: nothing is lost, and they leave by themselves as soon as it is back."
        )
    if system.broker == "blocked":
        return Banner(
            "Letters wait in the database.",
            f"{_BLOCKED} Nothing is lost: they leave by themselves as soon as it has room.",
        )
    if system.mail_room_of and not system.mail_room_up:
        return Banner("Letters wait in the broker.", f"{_NO_WORKER} Nothing is lost: they leave when one is back.")
    return None


def _of_alarm(system: Parts, alarm: ShownAlarm) -> Banner:
    """The route's alarm stops messages; any other is a fact that somebody has to know."""
    if alarm.kind != "route":
        return Banner(alarm.sentence, "", alarm.advice or "")
    if _all_rest(system):
        text = "Nothing is lost: messages leave by themselves as soon as it is mended."
    else:
        rooms = sorted({name.rpartition("/")[0] or name for name in alarm.where})
        text = f"It rests in mail room {', '.join(rooms)}; the others go on sending."
    return Banner(alarm.sentence, text, alarm.advice or "")


def _all_rest(system: Parts) -> bool:
    return 0 < system.mail_room_up == system.mail_room_resting


def held_up(system: Parts, state: str) -> str | None:
    """Why a delivery in this state does not go on now, whatever its own reason is; None if nothing is in its way.

    It ought to be due: of one that is planned for later nobody asks.
    """
    if state == State.pending:
        if not system.dispatch_up:
            return "The part that hands it to the mail room is not running."
        return {"down": _DOWN, "blocked": _BLOCKED}.get(system.broker)
    if state not in (State.queued, State.deferred):
        return None
    if system.broker == "down":
        return _DOWN
    if system.dispatch_up and not system.mail_room_up:
        return _NO_WORKER
    if _all_rest(system):
        said = [alarm.sentence for alarm in system.alarms if alarm.kind == "route"]
        return " ".join(said) or "The mail server takes nothing at the moment."
    return None
