"""The real modules, wired to a simulated broker, mail server and clock.

Real: the CRM's verbs, relay, outcome listener and sweeper on a real database; the mail room's intake, sender,
reporter, throttle, SMTP session and ledger on a real database. They run unchanged on the event loops of
simulated processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, SQLModel

from crm_api.db import Database
from crm_api.dead_letters import sweeper
from crm_api.dead_letters.sweeper import DeadLetterSweeper
from crm_api.outbox.relay import Relay
from crm_api.outcomes.listener import OutcomeListener
from crm_api.settings import CrmSettings
from email_service.compose import Composer
from email_service.consumer import Intake
from email_service.ledger import Ledger
from email_service.ledger_store import Operation, _Sqlite
from email_service.report import Reporter
from email_service.route_watch import RouteWatch
from email_service.send import Sender
from email_service.throttle import Throttle
from email_service.transports.smtp import SmtpTransport
from shared.alarms import Alarms
from shared.amqp import Consumer
from shared.files import FileStore
from shared.lanes import Lane
from shared.topology import OUTCOMES_QUEUE
from tests.model.broker import Broker, Channel, Publisher
from tests.model.clock import Clock
from tests.model.process import Process
from tests.model.server import MailServer
from tests.support.crm import Crm, crm_of
from tests.support.databases import Template
from tests.support.mailroom import settings as mail_room_settings
from tests.support.people import add_user

URL = "amqp://simulated"
BULK_IN_BROKER = 4  # so that a mailing of two is bounded

_KEPT = {"crm_user"}  # who clicks


class Town:
    """What outlives an example: databases and settings. Every example gets them empty, and a clock at its beginning."""

    def __init__(self, folder: Path, template: Template, patch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.clock.rule(patch)
        self.defects: list[str] = []
        crm_settings = CrmSettings(data_dir=folder, database_url=template.copy_sqlite(folder / "crm.sqlite"))
        self.database = Database(crm_settings.database)
        with self.database.write() as session:
            user = add_user(session)
            session.execute(text("DROP TRIGGER audit_entry_is_not_deleted"))  # or the house could not be emptied
        self.crm: Crm = crm_of(crm_settings, self.database, user)
        self.settings = mail_room_settings(folder, retry_scale=1.0, connections=2, dot_seconds=60, data_seconds=30)
        self.ledger = _Sqlite(folder / "ledger.sqlite")
        self.ledger.connect()
        self.files = FileStore(self.settings.files_dir)
        self.house: House

        async def remove(_: list[str], queue: str, keys: set[str]) -> set[str]:
            return await self.house.remove_from_queue(queue, keys)

        patch.setattr(sweeper, "remove_from_queue", remove)
        handler = _Defects(self.defects)
        logging.getLogger().addHandler(handler)

    def empty(self) -> None:
        self.clock.reset()
        self.defects.clear()
        with self.database.write() as session:
            for table in reversed(SQLModel.metadata.sorted_tables):
                if table.name not in _KEPT:
                    session.execute(table.delete())
        self.ledger.run([Operation("DELETE FROM attempt", ())])

    def close(self) -> None:
        self.database.close()
        self.ledger.close()
        root = logging.getLogger()
        for handler in [each for each in root.handlers if isinstance(each, _Defects)]:
            root.removeHandler(handler)


class _Defects(logging.Handler):
    """An exception that the product only logs is a defect here."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._found.append(self.format(record))


class LedgerStore:
    """As email_service.ledger_store.Store, with a disk that takes its time."""

    trouble = ""

    def __init__(self, process: Process, database: _Sqlite) -> None:
        self._process, self._database = process, database

    async def do(self, operation: Operation) -> Any:
        (result,) = await self._process.outside("ledger", lambda: self._database.run([operation]))
        return result


class Writer:
    """As crm_api.writer.Writer, with a disk that takes its time."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process, self._database = process, database

    async def do(self, work: Callable[[Session], Any], *, later: bool = False) -> Any:
        def transaction() -> Any:
            with self._database.write() as session:
                return work(session)

        return await self._process.outside("database", transaction)


class Worker(Process):
    """One worker of the mail room, wired as in email_service.worker."""

    def __init__(self, house: House, number: int, life: int) -> None:
        super().__init__(f"worker {number}", house.town.clock)
        town, settings, name = house.town, house.town.settings, f"{house.town.settings.room_name}/{number}"
        self.owner = settings.owner(f"{number}:{life}")
        self.loop.connect = lambda factory: house.server.connect(self, factory)
        ledger = Ledger(settings.ledger, self.owner)
        ledger._store = LedgerStore(self, town.ledger)  # type: ignore[assignment]
        self.throttle = Throttle(settings.connections, town.clock.monotonic)
        transport = SmtpTransport(settings)
        self.publisher = Publisher(self, house.broker)
        reporter = Reporter(self.publisher)  # type: ignore[arg-type]
        self.intake = Intake(settings, name, self.publisher)  # type: ignore[arg-type]
        watch = RouteWatch(settings, self.throttle, transport, self.intake.consumer, Alarms())
        composer = Composer(town.files)
        sender = Sender(settings, name, ledger, self.throttle, transport, composer, reporter.started)
        sender.judge = watch.hear
        self.intake._sender, self.intake._reporter = sender, reporter
        self.loop.call_soon(reporter.start)
        self.loop.drain()
        for queue, prefetch in self.intake._prefetch.items():
            Channel(self, house.broker, queue, prefetch, self.intake.consumer)

    def stop(self) -> None:
        """SIGTERM, and no patience: unstarted letters go back, conversations are cut off."""
        self.throttle.stop()
        self.intake.consumer._unwanted.set()
        self.loop.drain()
        for task in list(self.intake.consumer._tasks):
            task.cancel()
        self.loop.drain()


class Dispatch(Process):
    """Relays, outcomes and sweeper, wired as in crm_api.dispatch."""

    def __init__(self, house: House, number: int) -> None:
        super().__init__(f"dispatch {number}", house.town.clock)
        writer: Any = Writer(self, house.town.database)
        self.publisher: Any = Publisher(self, house.broker)
        feed: Any = None
        bound = {Lane.bulk: BULK_IN_BROKER}
        self._relays = {lane: Relay(lane, writer, self.publisher, feed, bound.get(lane)) for lane in Lane}
        self._tasks: dict[object, asyncio.Task[Any]] = {}
        self._sweeper = DeadLetterSweeper(writer, feed, [URL], asyncio.Lock())
        listener = OutcomeListener(writer)
        self.loop.call_soon(listener.start)
        self.loop.drain()
        consumer = Consumer([URL], self.name, OUTCOMES_QUEUE, 1000, listener.on_delivery)
        Channel(self, house.broker, OUTCOMES_QUEUE, 1000, consumer)

    def carry(self, lane: Lane) -> None:
        """The relay of this lane looks for letters, unless it is at it."""
        self._start(lane, self._relays[lane]._carry)

    def sweep(self) -> None:
        self._start("sweep", self._sweeper._sweep)

    def _start(self, name: object, work: Callable[[], Any]) -> None:
        running = self._tasks.get(name)
        if running is None or running.done():
            if running is not None:
                running.result()
            self._tasks[name] = self.loop.create_task(work())
            self.loop.drain()


class House:
    def __init__(self, town: Town) -> None:
        town.empty()
        town.house = self
        self.town, self.clock = town, town.clock
        self.broker, self.server = Broker(town.clock), MailServer()
        self._lives = 0
        self.workers = [self._worker(number) for number in (1, 2)]
        self.dispatches = [Dispatch(self, number) for number in (1, 2)]

    @property
    def processes(self) -> list[Worker | Dispatch]:
        return [*self.workers, *self.dispatches]

    def wait(self, seconds: float) -> None:
        """Time goes on; what it wakes in a process wakes at that process's next step."""
        self.clock.seconds += seconds
        self.broker.tick()

    def kill(self, number: int, arrive: bool, noticed: bool = True) -> None:
        """kill -9, and another takes its place. noticed: the supervisor is there to see it."""
        process = self.processes[number]
        process.kill(arrive)
        if isinstance(process, Worker):
            if noticed:
                self.expire(process.owner)
            self.workers[number] = self._worker(number + 1)
        else:
            self.dispatches[number - len(self.workers)] = Dispatch(self, number)

    def expire(self, owner: str) -> None:
        """As the supervisor does for a worker that died."""
        store = Ledger("sqlite:///unused", "supervisor")
        process = Process("supervisor", self.clock)
        store._store = LedgerStore(process, self.town.ledger)  # type: ignore[assignment]
        task = process.loop.create_task(store.expire(owner))
        process.loop.drain()
        process.run(10)
        task.result()
        process.end()

    async def remove_from_queue(self, queue: str, keys: set[str]) -> set[str]:
        loop = asyncio.get_running_loop()
        (process,) = (each for each in self.dispatches if each.loop is loop)
        return await process.outside("remove", lambda: self.broker.remove(queue, keys))

    def close(self) -> None:
        for process in self.processes:
            process.end()

    def _worker(self, number: int) -> Worker:
        self._lives += 1
        return Worker(self, number, self._lives)
