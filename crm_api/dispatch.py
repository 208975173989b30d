"""The process between database and broker: relays out, outcomes in. Runs several times over on PostgreSQL."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from crm_api import changes
from crm_api.auth.sealing import Seal, seal_of
from crm_api.db import Database
from crm_api.dead_letters.sweeper import DeadLetterSweeper
from crm_api.messages import idempotency, secret_fields
from crm_api.messages.filing import Filing
from crm_api.monitoring import alarms
from crm_api.monitoring.alarms import of_this_process
from crm_api.monitoring.heartbeats import Heartbeats
from crm_api.outbox import clock
from crm_api.outbox.relay import Relay
from crm_api.outcomes.listener import OutcomeListener
from crm_api.reconciliation.job import Reconciler
from crm_api.settings import CrmSettings
from crm_api.writer import Writer
from shared.amqp import Consumer, Delivery, Publisher
from shared.contracts import Heartbeat
from shared.ending import end_within
from shared.lanes import Lane
from shared.tasks import deaths, run_forever, run_once
from shared.telemetry import give_signs_of_life, mark_ready
from shared.topology import HEARTBEAT_KEY, OUTCOMES_QUEUE

log = logging.getLogger("dispatch")

PREFETCH = 1000
SWEEP_SECONDS = 60.0
STOP_SECONDS = 25  # less than compose and service managers wait before they kill


async def run(settings: CrmSettings) -> None:
    """Until SIGTERM or SIGINT; then what was published is marked and what was received is committed."""
    database = Database(settings.database)
    seal = seal_of(settings)
    writer = Writer(database)
    feed = changes.ChangeFeed(database.url, tell_deaf=alarms.tell_deaf)
    publisher = Publisher(settings.amqp_urls, "dispatch out", alarms=of_this_process)
    heartbeats = Heartbeats(writer, publisher)
    outcomes = OutcomeListener(writer)
    consumer = _consumer(settings, heartbeats, outcomes)
    bound = {Lane.bulk: settings.bulk_in_broker}
    relays = [Relay(lane, writer, publisher, feed, bound.get(lane), seal) for lane in Lane]
    walking = asyncio.Lock()
    sweeper = DeadLetterSweeper(writer, feed, settings.amqp_urls, walking)
    reconciler = Reconciler(settings, database, writer, publisher, feed, walking)

    stop = _asked_to_stop()
    await feed.start()
    await publisher.start()
    outcomes.start()
    await consumer.start()
    going = [run_once(relay.run(), f"relay {relay.lane}", vital=True) for relay in relays]
    ready = mark_ready(settings, "dispatch")
    helping = [
        run_forever(heartbeats.run(), "heartbeats"),
        run_forever(sweeper.run(), "dead letters"),
        run_forever(reconciler.run(), "reconciliation"),
        run_forever(_sweep(writer, seal), "sweep"),
        run_forever(Filing(writer).run(), "filing"),
        run_forever(clock.keep_right(writer), "clock"),
        run_forever(give_signs_of_life(ready), "signs of life"),
    ]
    log.info("dispatch is up")
    try:
        await stop.wait()
    finally:
        end_within(STOP_SECONDS)
        ready.unlink(missing_ok=True)
        for relay in relays:
            relay.stop()
        await consumer.stop_consuming()
        await asyncio.gather(*going, return_exceptions=True)
        for task in helping:
            task.cancel()
        await asyncio.gather(*helping, return_exceptions=True)
        await consumer.close()
        await outcomes.close()
        with contextlib.suppress(Exception):
            await heartbeats.leave()
        await publisher.close()
        await feed.close()
        writer.close()
        database.close()
        log.info("dispatch has stopped")
    if lost := deaths().names:
        sys.exit(f"Dispatch ended because it had lost a part: {lost[0]}")


def _consumer(settings: CrmSettings, heartbeats: Heartbeats, outcomes: OutcomeListener) -> Consumer:
    """Of what the mail rooms tell."""

    async def on_delivery(delivery: Delivery) -> None:
        if delivery.properties.type != Heartbeat.TYPE:
            await outcomes.on_delivery(delivery)
            return
        heartbeats.on_delivery(delivery.body)
        delivery.ack()

    return Consumer(
        settings.amqp_urls,
        "dispatch in",
        OUTCOMES_QUEUE,
        PREFETCH,
        on_delivery,
        control_key=HEARTBEAT_KEY,
        alarms=of_this_process,
    )


def _asked_to_stop() -> asyncio.Event:
    """Is set by a signal, or by the death of a part; from then on there is only so much time."""
    stop = asyncio.Event()

    def end() -> None:
        end_within(STOP_SECONDS)
        stop.set()

    deaths().on_first(lambda _: end())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return stop


async def _sweep(writer: Writer, seal: Seal) -> None:
    """Throws away what nobody needs any more."""
    jobs: list[Callable[[Session], object]] = [changes.sweep, idempotency.sweep, partial(_seal_old, seal)]
    while True:
        failed = ""
        for job in list(jobs):
            try:
                await writer.do(job)
            except OperationalError as problem:
                log.warning("the sweep waits for the database: %s", problem)
            except Exception as problem:  # the other jobs are none the worse for it
                log.exception("the sweep failed")
                failed = f"{type(problem).__name__}: {problem}"
            else:
                if isinstance(job, partial):
                    jobs.remove(job)  # is done once
        if failed:
            alarms.raise_alarm("sweep", "What nobody needs any more is not thrown away.", failed)
        else:
            alarms.clear("sweep")
        await asyncio.sleep(SWEEP_SECONDS)


def _seal_old(seal: Seal, session: Session) -> None:
    if count := secret_fields.seal_old(session, seal):
        log.info("%d deliveries of an earlier version had a secret in the clear, sealed", count)
