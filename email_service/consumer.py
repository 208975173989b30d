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
from shared.contracts import BadContract, Outcome, OutcomeKind, SendCommand, decode, split_key
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
        except BadContract as problem:
            await self._set_aside(delivery, received_at, str(problem))
            return
        try:
            decision = await self._sender.attempt(job)
        except Exception:
            if _returns(delivery) < TRIES_BEFORE_GIVING_UP:
                raise  # shared.amqp logs it and gives the message back after a pause
            log.exception("a command makes the mail room fail, given up", extra={"id": command.key})
            decision = await self._sender.give_up(job, "The mail room failed at this letter, several times.")
        await self._settle(delivery, job, decision)

    async def _set_aside(self, delivery: Delivery, received_at: datetime, why: str) -> None:
        """What cannot be read goes to the dead letters, and if its id says whose it is, their page says why."""
        named = delivery.properties.message_id
        log.error("a command cannot be read, it goes to the dead letters", extra={"id": named, "why": why})
        try:
            key = split_key(named or "")
            lane = next(lane for lane in Lane if topology.lane_queue(lane) == delivery.queue)
            attempt = _number(delivery, "x-attempt")
            await self._reporter.outcome(self._sender.unreadable(key, lane, attempt, received_at, why))
        except (BadContract, StopIteration):
            pass  # nobody's
        delivery.nack(requeue=False)

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
            headers["x-parked"] = _number(delivery, "x-parked") + 1
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
    first_seen = _number(delivery, "x-first-seen", MAX_SECONDS)
    return Job(
        command=command,
        attempt=max(1, _number(delivery, "x-attempt")),
        unknowns=_number(delivery, "x-unknowns"),
        first_seen=datetime.fromtimestamp(first_seen, UTC) if first_seen else received_at,
        received_at=received_at,
        came_before=delivery.redelivered or ("x-parked" in headers and "x-twin" not in headers),
    )


MAX_SECONDS = 2**37  # some 4,000 years
MAX_TRIES = 999_999  # the next one is still an Ordinal


def _number(delivery: Delivery, header: str, most: int = MAX_TRIES) -> int:
    """A header of ours; what is none or nonsense is 0."""
    value = delivery.headers.get(header)
    return min(value, most) if isinstance(value, int) and value > 0 else 0


def _returns(delivery: Delivery) -> int:
    return _number(delivery, "x-delivery-count")
