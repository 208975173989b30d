"""Lets the route rest when the server refuses us altogether, and tries again without risking a message.

A sign-in or certificate that is refused, or a server that cannot be reached, is the same for every message: to
defer them one by one would only push a whole backlog into the wait queues. Whether a server that refuses everybody
takes mail again only a message can tell: after a rest one goes first, and the others wait for what becomes of it.
"""

import asyncio
import logging
from enum import StrEnum

from email_service.outcome import Verdict
from email_service.refusals import Judged, Refusals, Tried
from email_service.route_advice import advice
from email_service.route_words import IN_A_TRANSACTION
from email_service.settings import MailRoomSettings
from email_service.throttle import Throttle
from email_service.transports.smtp import SmtpTransport
from shared.alarms import Alarms
from shared.amqp import Consumer
from shared.contracts import OutcomeKind
from shared.tasks import run_once

log = logging.getLogger("route")

ALARM, REFUSALS_ALARM = "route", "refusals"
FAILURES_IN_A_ROW = 5  # to reach the server, before it counts as away
AWAY_SHARE = 0.1  # a server that is away is probed sooner than one that refuses our password
QUOTA_FACTOR = 5  # and one whose limit we have reached later: each try may count
LONGEST_FACTOR = 10


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
        self._failures = 0
        self._rests = 0  # since a message was last accepted: the pauses grow
        self._keeping: asyncio.Task[None] | None = None
        self._trial: asyncio.Future[Judged | None] | None = None  # None: it was accepted
        self.changed = asyncio.Event()  # for the heartbeat

    @property
    def state(self) -> str:
        """As Heartbeat.route_state: "open", or "paused: why"."""
        return "open" if self._route is _Route.open else f"paused: {self._why}"

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

    def _begin_rest(self, judged: Judged) -> None:
        self._route, self._why = _Route.rests, judged.verdict.reason
        self._throttle.pause(self._why)
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
            verdict = refused
            self._why = verdict.reason
            self._alarm(ALARM, Judged(verdict))

    def _pause(self, verdict: Verdict) -> float:
        factor = (
            AWAY_SHARE
            if verdict.unreachable and not verdict.pause
            else QUOTA_FACTOR
            if verdict.pause == "quota"
            else 1.0
        )
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
        self._route, self._failures = _Route.open, 0
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
