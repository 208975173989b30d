"""One attempt at one delivery: look it up, wait for a place, talk, write down, decide what happens next.

The ledger's `started` is committed before DATA and the outcome before it is reported, so whatever dies in
between, the next worker that gets the command knows what it may still do.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from email_service import retry
from email_service.compose import CannotCompose, Composer
from email_service.ledger import STARTED, Ledger, Row
from email_service.outcome import Verdict
from email_service.refusals import Tried
from email_service.retry import Wait
from email_service.settings import MailRoomSettings
from email_service.throttle import GiveBack, Throttle
from email_service.transports.places import NoPlace
from email_service.transports.session import LeaseLost
from email_service.transports.smtp import Conversation, SmtpTransport
from shared.contracts import MAX_ORDINAL, AttemptStarted, Outcome, OutcomeKind, SendCommand, fitted
from shared.fields import secret_words
from shared.lanes import Lane
from shared.tasks import run_once

MAX_WHY = 500  # characters
MOMENT_SECONDS = 1  # a conversation that takes longer is announced
_random = random.SystemRandom()
_decoder = msgspec.json.Decoder(Outcome)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Job:
    """A command with what its message says about it."""

    command: SendCommand
    attempt: int  # from 1
    unknowns: int  # how many attempts ended unknown
    first_seen: datetime
    received_at: datetime
    came_before: bool  # it was in a worker's hands: it may be the only copy of its command


class Then(StrEnum):
    ack = "ack"
    again = "again"  # after decision.wait, as the next attempt
    park = "park"  # after decision.wait, as the same attempt
    dead_letter = "dead letter"
    give_back = "give back"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to report, and how the AMQP message is settled then."""

    then: Then
    outcome: Outcome | None = None
    wait: Wait | None = None


class _Taken(Exception):
    """Another worker has this delivery, or has finished it."""


Announce = Callable[[AttemptStarted], Coroutine[Any, Any, None]]


class Sender:
    """worker: "north/3"."""

    def __init__(
        self,
        settings: MailRoomSettings,
        worker: str,
        ledger: Ledger,
        throttle: Throttle,
        transport: SmtpTransport,
        composer: Composer,
        announce: Announce,
    ) -> None:
        self._settings, self._worker, self._host = settings, worker, settings.host
        self._ledger, self._throttle, self._transport = ledger, throttle, transport
        self._composer, self._announce = composer, announce
        self.no_place: Callable[[Verdict], None] = lambda _: None
        self.judge: Callable[[Verdict, Tried], Verdict] = lambda verdict, _: verdict

    async def attempt(self, job: Job) -> Decision:
        token = self._ledger.token()
        while True:
            row = await self._ledger.look_up(job.command.key)
            if row is not None and (known := await self._known(row, job, token)) is not None:
                return known
            if (decision := await self._new(job, token)) is not None:
                return decision
            # somebody else was quicker: see what has become of it

    async def give_up(self, job: Job, reason: str) -> Decision:
        """For what this mail room cannot handle at all, after several tries."""
        verdict = Verdict(OutcomeKind.failed, "compose", reason)
        decision = await self._conclude(job, self._ledger.token(), Conversation(verdict, "", ""), None)
        return decision or Decision(Then.give_back)

    def unreadable(self, key: tuple[UUID, int], lane: Lane, attempt: int, received_at: datetime, why: str) -> Outcome:
        """For a command of which no more is known than its key."""
        return Outcome(
            delivery=key[0],
            generation=min(max(0, key[1]), MAX_ORDINAL),
            attempt=max(1, attempt),
            lane=lane,
            kind=OutcomeKind.failed,
            phase="compose",
            reason=f"The mail room cannot read this letter: {why[:MAX_WHY]}",
            worker=self._worker,
            host=self._host,
            received_at=received_at,
            finished_at=datetime.now(UTC),
        )

    def parked(self) -> Decision:
        """The same attempt again in a moment."""
        wait = retry.wait(retry.PARK_STEP, _random.random(), self._settings.retry_scale)
        return Decision(Then.park, None, wait)

    # ---- a delivery that is not finished -------------------------------------------------------------------

    async def _new(self, job: Job, token: int) -> Decision | None:
        """None: somebody else has begun or finished this delivery meanwhile."""
        command = job.command
        if job.received_at >= command.expires_at:
            verdict = Verdict(OutcomeKind.failed, "expired", "It was not sent in time and is too late now.")
            return await self._conclude(job, token, Conversation(verdict, "", ""), None)
        try:
            letter = await self._composer.compose(command)
        except CannotCompose as problem:
            verdict = Verdict(OutcomeKind.failed, "compose", str(problem))
            return await self._conclude(job, token, Conversation(verdict, "", ""), None)

        claimed_at: float | None = None

        async def claim() -> None:
            nonlocal claimed_at
            claimed_at = time.monotonic()
            if not await self._ledger.claim(command.key, job.attempt, token, self._settings.lease_seconds):
                raise _Taken

        def still_ours() -> bool:
            """Not if we slept so long (a frozen process) that the lease may be over before the answer."""
            margin = self._settings.lease_seconds - self._settings.dot_seconds
            return claimed_at is not None and time.monotonic() - claimed_at < margin

        conversation: Conversation | None = None
        try:
            while conversation is None:
                async with self._throttle.slot(command.lane):
                    started_at = datetime.now(UTC)
                    timer = asyncio.get_running_loop().call_later(MOMENT_SECONDS, self._say_started, job)
                    try:
                        conversation = await self._transport.send(letter, claim, still_ours)
                    except NoPlace as problem:
                        if not problem.standing:  # another worker may have the places: it can have the message, too
                            self.no_place(problem.verdict)
                            return Decision(Then.give_back)
                        self._throttle.full(problem.standing)
                    finally:
                        timer.cancel()
        except GiveBack:
            return Decision(Then.give_back)
        except _Taken:
            return None
        except LeaseLost:  # nothing had been sent, and if nobody has taken over, it is still ours to say so
            verdict = Verdict(OutcomeKind.deferred, "data", "The worker stood still for too long.")
            conversation = Conversation(verdict, "", "")
        conversation.hide(secret_words(command.fields))
        tried = Tried(command.to.address, command.sender.address, command.message, job.attempt)
        conversation.verdict = self.judge(conversation.verdict, tried)
        return await self._conclude(job, token, conversation, started_at)

    def _say_started(self, job: Job) -> None:
        command = job.command
        started = AttemptStarted(
            command.delivery, command.generation, job.attempt, self._worker, self._host, job.received_at
        )
        run_once(self._announce(started), "announcement")

    async def _conclude(
        self, job: Job, token: int, conversation: Conversation, started_at: datetime | None
    ) -> Decision | None:
        decision = self._decide(job, conversation, started_at)
        outcome = decision.outcome
        assert outcome is not None
        written = await self._ledger.finish(job.command.key, job.attempt, token, outcome.kind, _encoder.encode(outcome))
        return decision if written else None

    def _decide(self, job: Job, conversation: Conversation, started_at: datetime | None) -> Decision:
        command, verdict, now = job.command, conversation.verdict, datetime.now(UTC)
        kind, reason = verdict.kind, verdict.reason
        again: Wait | None = None
        scale = self._settings.retry_scale
        if kind is OutcomeKind.deferred:
            chance = _random.random()
            again = retry.after_deferral(job.attempt, now, command.expires_at, chance, scale)
            if again is None:
                kind, reason = OutcomeKind.failed, f"{reason} It was tried until its time was over."
        elif kind is OutcomeKind.unknown and command.lane is not Lane.bulk:
            again = retry.after_unknown(job.unknowns, now, command.expires_at, _random.random(), scale)
        dull = kind is OutcomeKind.accepted and command.lane is Lane.bulk  # a million conversations, all the same
        outcome = Outcome(
            delivery=command.delivery,
            generation=command.generation,
            attempt=job.attempt,
            lane=command.lane,
            kind=kind,
            phase=verdict.phase,
            reason=reason,
            worker=self._worker,
            host=self._host,
            received_at=job.received_at,
            finished_at=now,
            route=conversation.route or self._transport.route.name,
            started_at=started_at,
            code=verdict.code,
            enhanced=verdict.enhanced,
            reply=verdict.reply,
            server=conversation.server or None,
            queue_id=verdict.queue_id,
            next_at=again.until(now) if again else None,
            suppress=verdict.suppress,
            tls=conversation.tls,
            talk=() if dull else conversation.talk.lines,
        )
        outcome = fitted(outcome)
        if kind is OutcomeKind.accepted:
            return Decision(Then.ack, outcome)
        return Decision(Then.again if again else Then.dead_letter, outcome, again)

    # ---- a delivery the ledger knows -----------------------------------------------------------------------

    async def _known(self, row: Row, job: Job, token: int) -> Decision | None:
        """None: this attempt may begin."""
        if row.state == STARTED:
            return await self._begun_before(row, job, token)
        if row.attempt < job.attempt and not row.final:
            return None
        outcome = None if row.outcome is None else _decoder.decode(row.outcome)
        if row.attempt > job.attempt and not row.final:
            # a late copy of an attempt whose successor is on its way; or the CRM, which asks with a new copy, has not
            # heard of all attempts: then it learns of the newest
            return Decision(Then.ack, outcome)
        if outcome is not None and outcome.kind is OutcomeKind.accepted:
            return Decision(Then.ack, outcome)
        if not job.came_before:
            return Decision(Then.ack, outcome)  # a second copy: the first one is settled by whoever has it
        if outcome is None or outcome.next_at is None:
            return Decision(Then.dead_letter, outcome)
        return Decision(Then.again, outcome, retry.remaining(outcome.next_at, datetime.now(UTC)))

    async def _begun_before(self, row: Row, job: Job, token: int) -> Decision | None:
        late = row.attempt > job.attempt
        if row.lease_until > time.time():
            # a late copy: the command of that attempt is on its way
            return Decision(Then.ack) if late else self.parked()
        verdict = Verdict(
            OutcomeKind.unknown,
            "ledger",
            "The worker that was sending it ended before it had an answer. It may have been taken.",
        )
        # of the newest attempt, even by a late copy: its own command may be lost, and then nobody else would tell
        attempt = max(row.attempt, job.attempt)
        decision = self._decide(replace(job, attempt=attempt), Conversation(verdict, "", ""), None)
        assert decision.outcome is not None
        encoded = _encoder.encode(decision.outcome)
        if await self._ledger.take_over(job.command.key, row, attempt, token, encoded):
            return Decision(Then.ack, decision.outcome) if late else decision
        fresh = await self._ledger.look_up(job.command.key)
        return None if fresh is None else await self._known(fresh, job, token)
