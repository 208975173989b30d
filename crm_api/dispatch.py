"""The process between database and broker: relays out, outcomes in. Runs several times over on PostgreSQL."""

import asyncio
import contextlib
import logging
import signal

from crm_api import changes
from crm_api.db import Database
from crm_api.dead_letters.sweeper import DeadLetterSweeper
from crm_api.messages import idempotency
from crm_api.messages.filing import Filing
from crm_api.monitoring.alarms import of_this_process
from crm_api.monitoring.heartbeats import Heartbeats
from crm_api.outbox import clock
from crm_api.outbox.relay import Relay
from crm_api.outcomes.listener import OutcomeListener
from crm_api.reconciliation.job import Reconciler
from crm_api.settings import CrmSettings
from crm_api.writer import Writer
from shared.amqp import Consumer, Delivery, Publisher
from shared.contracts import BadContract, Heartbeat, decode
from shared.ending import end_within
from shared.lanes import Lane
from shared.telemetry import mark_ready
from shared.topology import HEARTBEAT_KEY, OUTCOMES_QUEUE

log = logging.getLogger("dispatch")

PREFETCH = 1000
SWEEP_SECONDS = 60.0
STOP_SECONDS = 25  # less than compose and service managers wait before they kill


async def run(settings: CrmSettings) -> None:
    """Until SIGTERM or SIGINT; then what was published is marked and what was received is committed."""
    database = Database(settings.database)
    writer = Writer(database)
    feed = changes.ChangeFeed(database.url)
    publisher = Publisher(settings.amqp_urls, "dispatch out", alarms=of_this_process)
    heartbeats = Heartbeats(writer, publisher)
    outcomes = OutcomeListener(writer)

    async def on_delivery(delivery: Delivery) -> None:
        if delivery.properties.type != Heartbeat.TYPE:
            await outcomes.on_delivery(delivery)
            return
        with contextlib.suppress(BadContract):
            beat = decode(Heartbeat.TYPE, delivery.body)
            if isinstance(beat, Heartbeat):
                heartbeats.hear(beat)
        delivery.ack()

    consumer = Consumer(
        settings.amqp_urls,
        "dispatch in",
        OUTCOMES_QUEUE,
        PREFETCH,
        on_delivery,
        control_key=HEARTBEAT_KEY,
        alarms=of_this_process,
    )
    bound = {Lane.bulk: settings.bulk_in_broker}
    relays = [Relay(lane, writer, publisher, feed, bound.get(lane)) for lane in Lane]
    walking = asyncio.Lock()
    sweeper = DeadLetterSweeper(writer, feed, settings.amqp_urls, walking)
    reconciler = Reconciler(settings, database, writer, publisher, feed, walking)

    stop = asyncio.Event()

    def end() -> None:
        end_within(STOP_SECONDS)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await feed.start()
    await publisher.start()
    outcomes.start()
    await consumer.start()
    going = [asyncio.create_task(relay.run(), name=f"relay {relay.lane}") for relay in relays]
    helping = [
        asyncio.create_task(heartbeats.run(), name="heartbeats"),
        asyncio.create_task(sweeper.run(), name="dead letters"),
        asyncio.create_task(reconciler.run(), name="reconciliation"),
        asyncio.create_task(_sweep(writer), name="sweep"),
        asyncio.create_task(Filing(writer).run(), name="filing"),
        asyncio.create_task(clock.keep_right(writer), name="clock"),
    ]
    ready = mark_ready(settings, "dispatch")
    log.info("dispatch is up")
    try:
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *going, *helping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            log.critical("%s ended by itself, so dispatch ends, to be started again", task.get_name())
            task.result()
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


async def _sweep(writer: Writer) -> None:
    """Throws away what nobody needs any more."""
    while True:
        with contextlib.suppress(Exception):
            await writer.do(changes.sweep)
            await writer.do(idempotency.sweep)
        await asyncio.sleep(SWEEP_SECONDS)
