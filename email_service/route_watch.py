"""Lets the route rest when the server refuses us altogether, and tries again without risking a letter.

A sign-in or certificate that is refused, or a server that cannot be reached, is the same for every letter: to
defer them one by one would only push a whole backlog into the wait queues.
"""

import asyncio
import logging

from email_service.outcome import Verdict
from email_service.route_advice import advice
from email_service.settings import MailRoomSettings
from email_service.throttle import Throttle
from email_service.transports.smtp import SmtpTransport
from shared.alarms import Alarms
from shared.amqp import Consumer
from shared.contracts import OutcomeKind

log = logging.getLogger("route")

ALARM = "route"
FAILURES_IN_A_ROW = 5  # to reach the server, before it counts as away
AWAY_SHARE = 0.1  # a server that is away is probed sooner than one that refuses our password
LONGEST_FACTOR = 10


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
        self._throttle, self._transport, self._consumer = throttle, transport, consumer
        self._alarms = alarms
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self.changed = asyncio.Event()  # for the heartbeat

    @property
    def state(self) -> str:
        """As Heartbeat.route_state: "open", or "paused: why"."""
        return f"paused: {self._throttle.paused}" if self._throttle.paused else "open"

    def hear(self, verdict: Verdict) -> None:
        """Every verdict of a conversation comes by here."""
        if verdict.slow_down:
            self._throttle.slow_down()
        if verdict.kind is OutcomeKind.accepted:
            self._throttle.went_well()
        self._failures = self._failures + 1 if verdict.unreachable else 0
        if verdict.pause:
            self._pause(verdict, self._first_pause)
        elif self._failures >= FAILURES_IN_A_ROW:
            self._pause(verdict, self._first_pause * AWAY_SHARE)

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    def _pause(self, verdict: Verdict, seconds: float) -> None:
        if self._throttle.paused or self._throttle.stopped:
            return
        self._throttle.pause(verdict.reason)
        self._tell(verdict)
        self._probing = asyncio.create_task(self._probe(seconds), name="route probe")

    def _tell(self, verdict: Verdict) -> None:
        what_to_do = advice(self._transport.route, verdict)
        log.error("the route rests: %s", verdict.reason, extra={"what_to_do": what_to_do})
        self._alarms.raise_alarm(ALARM, verdict.reason, what_to_do)
        self.changed.set()

    async def _probe(self, seconds: float) -> None:
        await self._consumer.stop_consuming()
        longest = seconds * LONGEST_FACTOR
        while True:
            await asyncio.sleep(seconds)
            verdict = await self._transport.probe()
            if verdict is None:
                break
            self._throttle.paused = verdict.reason
            self._tell(verdict)
            seconds = min(longest, seconds * 2)
        log.info("the route is open again", extra={"server": self._transport.route.server})
        self._failures = 0
        self._alarms.clear(ALARM)
        self._throttle.open()
        self._consumer.consume_again()
        self.changed.set()
