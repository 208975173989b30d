"""Commands in; the only place that acks.

A message is settled when what came of it is safe: its outcome confirmed by the broker, and for a retry the
next copy confirmed in its wait queue before that. Failed ones are rejected, so that the broker itself moves
them to mail.dead.v1: publishing them there ourselves would double them after a crash.
"""

import logging
from datetime import UTC, datetime

from email_service.report import Reporter, publish_until_confirmed
from email_service.send import Decision, Job, Sender, Then
from email_service.settings import MailRoomSettings
from shared import topology
from shared.alarms import Alarms
from shared.amqp import Consumer, Delivery, Publisher
from shared.contracts import BadContract, Outcome, OutcomeKind, SendCommand, decode
from shared.lanes import Lane

log = logging.getLogger("mailroom")

# more than can be talked at once, so that places do not stand empty while acks travel
PREFETCH = {Lane.urgent: 2, Lane.normal: 2, Lane.bulk: 20}  # times the connections
TRIES_BEFORE_GIVING_UP = 5  # at a command that makes the mail room fail; the queue's own limit is 20
# beyond it a message is parked instead of returned: at 20 returns its queue would give it up without a word
RETURNS_AT_MOST = 3
_COPIED = ("traceparent", "tracestate")


class Intake:
    def __init__(
        self, settings: MailRoomSettings, name: str, publisher: Publisher, alarms: Alarms | None = None
    ) -> None:
        self._publisher = publisher
        self.counts = dict.fromkeys(OutcomeKind, 0)
        self._prefetch = {topology.lane_queue(lane): factor * settings.connections for lane, factor in PREFETCH.items()}
        self.consumer = Consumer(
            settings.amqp_urls, name, list(self._prefetch), self._prefetch, self._on_delivery, alarms=alarms
        )
        self._sender: Sender
        self._reporter: Reporter

    async def start(self, sender: Sender, reporter: Reporter) -> None:
        self._sender, self._reporter = sender, reporter
        await self.consumer.start()

    async def _on_delivery(self, delivery: Delivery) -> None:
        received_at = datetime.now(UTC)
        try:
            command = decode(delivery.properties.type, delivery.body)
            if not isinstance(command, SendCommand):
                raise BadContract(f"{delivery.properties.type} does not belong here")
            job = _job(command, delivery, received_at)
        except (BadContract, ValueError, TypeError) as problem:
            log.error(
                "a command cannot be read, it goes to the dead letters",
                extra={"id": delivery.properties.message_id, "why": str(problem)},
            )
            delivery.nack(requeue=False)
            return
        try:
            decision = await self._sender.attempt(job)
        except Exception:
            if _returns(delivery) < TRIES_BEFORE_GIVING_UP:
                raise  # shared.amqp logs it and gives the message back after a pause
            log.exception("a command makes the mail room fail, given up", extra={"id": command.key})
            decision = await self._sender.give_up(job, "The mail room failed at this letter, several times.")
        await self._settle(delivery, job, decision)

    async def _settle(self, delivery: Delivery, job: Job, decision: Decision) -> None:
        if decision.then is Then.give_back and _returns(delivery) >= RETURNS_AT_MOST:
            decision = self._sender.parked()
        if decision.wait is not None:
            await self._put_aside(delivery, job, decision)
        if decision.outcome is not None:
            await self._reporter.outcome(decision.outcome)
            self._note(decision.outcome)
        if decision.then is Then.dead_letter:
            delivery.nack(requeue=False)
        elif decision.then is Then.give_back:
            delivery.nack(requeue=True)
        else:
            delivery.ack()

    async def _put_aside(self, delivery: Delivery, job: Job, decision: Decision) -> None:
        """The same command into a wait queue, confirmed; its TTL brings it back to its lane."""
        assert decision.wait is not None
        was_unknown = decision.outcome is not None and decision.outcome.kind is OutcomeKind.unknown
        # built anew: with an old x-death a message gets stuck in a wait queue of RabbitMQ 3.10
        headers = {name: delivery.headers[name] for name in _COPIED if name in delivery.headers}
        headers |= {
            "x-first-seen": int(job.first_seen.timestamp()),
            "x-attempt": job.attempt + (decision.then is Then.again),
            "x-unknowns": job.unknowns + was_unknown,
        }
        if decision.then is Then.park:
            headers["x-parked"] = int(delivery.headers.get("x-parked", 0)) + 1
            # it waits for another copy, which is settled by whoever has that: it must not become a second dead letter
            headers |= {} if job.came_before else {"x-twin": 1}
        await publish_until_confirmed(
            self._publisher,
            topology.wait_exchange(decision.wait.step),
            topology.lane_key(job.command.lane),
            delivery.body,
            SendCommand.TYPE,
            job.command.key,
            expiration_ms=decision.wait.milliseconds,
            **headers,
        )

    def _note(self, outcome: Outcome) -> None:
        self.counts[outcome.kind] += 1
        # one line a letter is for the timeline; the log tells what somebody may have to look at
        level = logging.DEBUG if outcome.kind is OutcomeKind.accepted else logging.INFO
        if log.isEnabledFor(level):
            log.log(
                level,
                str(outcome.kind),
                extra={
                    "delivery": outcome.delivery,
                    "generation": outcome.generation,
                    "attempt": outcome.attempt,
                    "phase": outcome.phase,
                    "code": outcome.code,
                    "why": outcome.reason,
                },
            )


def _job(command: SendCommand, delivery: Delivery, received_at: datetime) -> Job:
    headers = delivery.headers
    first_seen = headers.get("x-first-seen")
    return Job(
        command=command,
        attempt=max(1, int(headers.get("x-attempt", 1))),
        unknowns=int(headers.get("x-unknowns", 0)),
        first_seen=received_at if first_seen is None else datetime.fromtimestamp(int(first_seen), UTC),
        received_at=received_at,
        came_before=delivery.redelivered or ("x-parked" in headers and "x-twin" not in headers),
    )


def _returns(delivery: Delivery) -> int:
    return int(delivery.headers.get("x-delivery-count", 0))
