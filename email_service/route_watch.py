"""Lets the route rest when the server refuses us altogether, and tries again without risking a message.

A sign-in or certificate that is refused, or a server that cannot be reached, is the same for every message: to
defer them one by one would only push a whole backlog into the wait queues. Whether a server that refuses everybody
takes mail again only a message can tell: after a rest one goes first, and the others wait for what becomes of it.
"""

import asyncio
import logging
import re
from enum import StrEnum

from email_service.outcome import Verdict
from email_service.refusals import Judged, Refusals, Tried, name_refused
from email_service.route_advice import advice
from email_service.route_words import IN_A_TRANSACTION
from email_service.settings import MailRoomSettings
from email_service.throttle import Throttle
from email_service.transports.places import is_crowded
from email_service.transports.smtp import SmtpTransport
from shared.alarms import Alarms
from shared.amqp import Consumer
from shared.contracts import OutcomeKind
from shared.tasks import run_once

log = logging.getLogger("route")

ALARM, REFUSALS_ALARM = "route", "refusals"
CROWDED_SHARE = 1 / 60  # and one that only has no place for us is asked soonest
QUIET_PROBES = 5  # so often it may have no place before somebody has to know
FAILURES_IN_A_ROW = 5  # to reach the server, before it counts as away
AWAY_SHARE = 0.1  # a server that is away is probed sooner than one that refuses our password
QUOTA_FACTOR = 5  # and one whose limit we have reached later: each try may count
LONGEST_FACTOR = 10


_CROWDED = "crowded"
# at the greeting: each further call would count, too
RATE_WORDS = re.compile(r"\brate\b|\bslow down\b|\btoo (?:fast|frequent|often)\b|\bhour", re.IGNORECASE)


class _Route(StrEnum):
    open = "open"
    rests = "rests"
    on_trial = "on trial"  # one message at a time


class RouteWatch:
    def __init__(
        self,
        settings: MailRoomSettings,
        throttle: Throttle,
        transport: SmtpTransport,
        consumer: Consumer,
        alarms: Alarms,
    ) -> None:
        self._first_pause = settings.probe_seconds
        self._throttle, self._transport, self._consumer, self._alarms = throttle, transport, consumer, alarms
        self._refusals = Refusals(settings.retry_scale)
        self._route = _Route.open
        self._why = ""
        self._is_quiet = False  # it rests, and nothing is wrong
        self._failures = 0
        self._rests = 0  # since a message was last accepted: the pauses grow
        self._keeping: asyncio.Task[None] | None = None
        self._trial: asyncio.Future[Judged | None] | None = None  # None: it was accepted
        self.changed = asyncio.Event()  # for the heartbeat

    @property
    def state(self) -> str:
        """As Heartbeat.route_state: "open", or "paused: why"."""
        return "open" if self._route is _Route.open or self._is_quiet else f"paused: {self._why}"

    def hear(self, verdict: Verdict, tried: Tried) -> Verdict:
        """Every verdict of a conversation comes by here; what comes back is whose trouble it is in the end."""
        judged = self._refusals.judge(verdict, tried, resting=self._route is not _Route.open)
        verdict = judged.verdict
        if verdict.slow_down:
            self._throttle.slow_down()
        if verdict.kind is OutcomeKind.accepted:
            self._accepted()
        self._failures = self._failures + 1 if verdict.unreachable else 0
        if verdict.pause or self._failures >= FAILURES_IN_A_ROW:
            self._rest(judged)
        elif judged.alarming:
            self._alarm(REFUSALS_ALARM, judged)
        return verdict

    def hear_no_place(self, verdict: Verdict) -> None:
        """Somebody else at our address has all the connections that the server lets us have: for now they send."""
        self._rest(Judged(verdict, _CROWDED))

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    def _accepted(self) -> None:
        self._throttle.went_well()
        self._alarms.clear(REFUSALS_ALARM)
        self._rests = 0
        if self._trial is not None and not self._trial.done():
            self._trial.set_result(None)

    # ---- rests and trials --------------------------------------------------------------------------------------

    def _rest(self, judged: Judged) -> None:
        if self._trial is not None and not self._trial.done():
            self._throttle.pause(judged.verdict.reason)
            self._trial.set_result(judged)
        if self._route is not _Route.open or self._throttle.stopped:
            return
        self._begin_rest(judged)
        self._keeping = run_once(self._until_open(judged.verdict), "route probe", vital=True)

    def _still_rests(self, verdict: Verdict) -> None:
        self._why = verdict.reason
        if not is_crowded(verdict) or self._rests >= QUIET_PROBES:
            self._is_quiet = False
            self._alarm(ALARM, Judged(verdict, _CROWDED if is_crowded(verdict) else ""))

    def _begin_rest(self, judged: Judged) -> None:
        # what was said already stays said: after a trial the server may only have no place for us
        self._is_quiet = judged.about == _CROWDED and (self._route is _Route.open or self._is_quiet)
        self._route, self._why = _Route.rests, judged.verdict.reason
        self._throttle.pause(self._why)
        if not self._is_quiet:
            self._alarm(ALARM, judged)

    async def _until_open(self, verdict: Verdict) -> None:
        only_a_message_tells = False
        while True:
            only_a_message_tells = only_a_message_tells or verdict.phase in IN_A_TRANSACTION
            await self._consumer.stop_consuming()
            await self._until_reached(verdict)
            if not only_a_message_tells or (judged := await self._tried_one()) is None:
                break
            self._begin_rest(judged)
            verdict = judged.verdict
        self._open()

    async def _until_reached(self, verdict: Verdict) -> None:
        """Pauses until the server lets us in again, at least one."""
        while True:
            await asyncio.sleep(self._pause(verdict))
            self._rests += 1
            refused = await self._transport.probe()
            if refused is None:
                return
            verdict = name_refused(refused) or refused
            self._still_rests(verdict)

    def _pause(self, verdict: Verdict) -> float:
        factor = QUOTA_FACTOR if verdict.pause == "quota" else 1.0
        if verdict.unreachable and not verdict.pause and not RATE_WORDS.search(verdict.reply or ""):
            factor = CROWDED_SHARE if is_crowded(verdict) else AWAY_SHARE
        return self._first_pause * factor * min(LONGEST_FACTOR, 1 << min(self._rests, 10))

    async def _tried_one(self) -> Judged | None:
        """One message after the other until something is clear; None: one was accepted."""
        log.info("one message is tried", extra={"server": self._transport.route.server})
        self._route = _Route.on_trial
        self._trial = asyncio.get_running_loop().create_future()
        self._throttle.open(one_at_a_time=True)
        self._consumer.consume_again(prefetch=1)
        judged = await self._trial
        self._trial = None
        await self._consumer.stop_consuming()
        return judged

    def _open(self) -> None:
        log.info("the route is open again", extra={"server": self._transport.route.server})
        self._route, self._failures, self._is_quiet = _Route.open, 0, False
        self._alarms.clear(ALARM)
        self._throttle.open()
        self._consumer.consume_again()
        self.changed.set()

    def _alarm(self, kind: str, judged: Judged) -> None:
        what_to_do = advice(self._transport.route, judged)
        if self._alarms.raise_alarm(kind, judged.verdict.reason, what_to_do):
            what = "the route rests" if kind == ALARM else "the mail server refuses one after the other"
            log.error("%s: %s", what, judged.verdict.reason, extra={"what_to_do": what_to_do})
        self.changed.set()
