"""One worker process of a mail room: all its parts, wired together, and its orderly end."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from uuid import uuid4

from email_service import helo
from email_service.compose import Composer
from email_service.consumer import Intake
from email_service.ledger import Ledger
from email_service.report import Reporter
from email_service.route_watch import RouteWatch
from email_service.send import Sender
from email_service.settings import MailRoomSettings
from email_service.throttle import Throttle
from email_service.transports.smtp import SmtpTransport
from shared.alarms import Alarms
from shared.amqp import Publisher
from shared.contracts import Heartbeat, OutcomeKind
from shared.files import FileStore
from shared.hardening import is_loopback
from shared.tasks import deaths, run_forever, run_once
from shared.telemetry import give_signs_of_life, mark_ready

log = logging.getLogger("mailroom")

HEARTBEAT_SECONDS = 5
UNHEARD_SECONDS = 0.5  # until somebody hears the first one
FLUSH_SECONDS = 5  # for the last events after the last conversation


class Worker:
    """number: from 1. owner: how the ledger knows this incarnation; see supervisor.py."""

    def __init__(self, settings: MailRoomSettings, number: int, owner: str | None = None) -> None:
        self._settings, self._number = settings, number
        name = f"{settings.room_name}/{number}"
        self._started_at = datetime.now(UTC)
        self._stopping = False
        self._name = name
        self._ledger = Ledger(settings.ledger, owner or settings.owner(f"{number}:{uuid4().hex}"))
        self._alarms = Alarms()
        self._throttle = Throttle(settings.connections)
        self._transport = SmtpTransport(settings)
        self._publisher = Publisher(settings.amqp_urls, f"mailroom {name} publisher", alarms=self._alarms)
        self._reporter = Reporter(self._publisher)
        self.intake = Intake(settings, f"mailroom {name} consumer", self._publisher, self._alarms)
        self._watch = RouteWatch(*(settings, self._throttle, self._transport, self.intake.consumer, self._alarms))
        composer = Composer(FileStore(settings.files_dir))
        self._sender = Sender(
            *(settings, name, self._ledger, self._throttle, self._transport, composer),
            announce=self._reporter.started,
        )
        self._sender.judge = self._watch.hear
        self._sender.no_place = self._watch.hear_no_place
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once it consumes. Raises LedgerError."""
        await self._ledger.open()
        await self._find_name()
        self._transport.start()
        await self._publisher.start()
        self._reporter.start()
        self._beating = run_forever(self._beat(), "heartbeat")
        await self.intake.start(self._sender, self._reporter)

    async def _find_name(self) -> None:
        """At the start, so that no message waits for it; and who may mend it hears of a name that servers refuse."""
        settings = self._settings
        complaint = helo.complaint(await asyncio.to_thread(lambda: settings.helo))
        if complaint and not is_loopback(settings.route.host):
            log.warning(complaint[0], extra={"what_to_do": complaint[1]})
            self._alarms.raise_alarm("helo", *complaint)

    async def wait_ready(self) -> None:
        await self._publisher.wait_connected()
        await self.intake.consumer.wait_connected()

    async def stop(self) -> None:
        """Finishes what is in the conversation, gives back what is not started, flushes events and acks."""
        self._stopping = True
        self._watch.changed.set()
        self._throttle.stop()
        await self._watch.close()
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self.intake.consumer.stop_consuming()
                await self.intake.consumer.idle()
        except TimeoutError:
            log.warning("stopped before all was finished", extra={"left": self.intake.consumer.in_flight})
        await self.intake.consumer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._reporter.heartbeat(self._heartbeat())
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
        await self._reporter.close()
        await self._transport.close()
        await self._publisher.close()
        await self._ledger.close()

    async def _beat(self) -> None:
        while True:
            self._watch.changed.clear()
            heard = await self._reporter.heartbeat(self._heartbeat())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS if heard else UNHEARD_SECONDS):
                    await self._watch.changed.wait()

    def _heartbeat(self) -> Heartbeat:
        counts = self.intake.counts
        return Heartbeat(
            room=self._settings.room_name,
            worker=self._number,
            workers=self._settings.workers,
            host=self._settings.host,
            pid=os.getpid(),
            at=datetime.now(UTC),
            started_at=self._started_at,
            in_flight=self.intake.consumer.in_flight,
            accepted=counts[OutcomeKind.accepted],
            deferred=counts[OutcomeKind.deferred],
            failed=counts[OutcomeKind.failed],
            unknown=counts[OutcomeKind.unknown],
            route_state=self._watch.state,
            stopping=self._stopping,
            held=self.intake.consumer.held,
            alarms=self._alarms.all,
        )


async def run(settings: MailRoomSettings, number: int, owner: str | None, watch_parent: bool) -> None:
    """Until SIGTERM or SIGINT, or until the supervisor is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if watch_parent:
        _end_with_parent(stop)
    deaths().on_first(lambda _: stop.set())
    worker = Worker(settings, number, owner)
    starting = run_once(worker.start(), "start")
    stopped = run_once(stop.wait(), "stop")
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # the ledger is away: nothing was begun
        log.warning("worker ends before it has begun", extra={"worker": number})
        return _end()
    starting.result()
    ready = run_once(worker.wait_ready(), "readiness", vital=True)
    await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        marker = mark_ready(settings, f"mailroom-{number}")
        log.info("worker is up", extra={"worker": number, "pid": os.getpid()})
        living = run_forever(give_signs_of_life(marker), "signs of life")
        await stopped
        living.cancel()
        marker.unlink(missing_ok=True)
    ready.cancel()
    log.info("worker stops", extra={"worker": number, "in_flight": worker.intake.consumer.in_flight})
    await worker.stop()
    log.info("worker ended", extra={"worker": number})
    return _end()


def _end() -> None:
    if lost := deaths().names:
        sys.exit(f"The worker ended because it had lost a part: {lost[0]}")


def _end_with_parent(stop: asyncio.Event) -> None:
    """Standard input is a pipe from the supervisor: at its end, however it came, we drain and end too."""

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            log.warning("the supervisor is gone")
            stop.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), read)
