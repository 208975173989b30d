"""What a person has resolved leaves mail.dead.v1; everything else stays."""

import asyncio

from sqlmodel import select

from crm_api.changes import ChangeFeed, announce
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.dead_letters.sweeper import DeadLetterSweeper
from crm_api.writer import Writer
from shared.amqp import Publisher, properties, remove_from_queue
from shared.contracts import SendCommand
from shared.topology import DEAD_LETTERS, DEAD_QUEUE
from tests.support.crm import Crm
from tests.support.waiting import eventually

KEYS = [f"01a1fbb9-dc7f-7b58-8f5b-953c220da78{n}.1" for n in range(5)]


async def test_resolved_letters_leave_the_dead_letter_queue(crm: Crm, amqp_url: str) -> None:
    publisher = Publisher([amqp_url], "test")
    await publisher.start()
    await publisher.wait_connected()
    for key in KEYS:
        await publisher.publish(DEAD_LETTERS, "dead.urgent", b"{}", properties(SendCommand.TYPE, key))
    writer, feed = Writer(crm.database), ChangeFeed(crm.database.url)
    await feed.start()
    sweeper = asyncio.create_task(DeadLetterSweeper(writer, feed, [amqp_url], asyncio.Lock()).run())

    def resolve(*keys: str) -> None:
        with crm.database.write() as session:
            session.add_all(DeadLetterRemoval(key=key) for key in keys)
            announce(session, "dead_letters")

    def left() -> int:
        with crm.database.read() as session:
            return len(session.exec(select(DeadLetterRemoval)).all())

    async def all_removed() -> bool:
        return await asyncio.to_thread(left) == 0

    await asyncio.to_thread(resolve, KEYS[1], KEYS[3])
    await eventually(all_removed, "both are taken out")
    # resolved before it has arrived: it is looked for again
    late = KEYS[0].replace(".1", ".2")
    await asyncio.to_thread(resolve, late)
    await publisher.publish(DEAD_LETTERS, "dead.urgent", b"{}", properties(SendCommand.TYPE, late))
    await eventually(all_removed, "the late one, too")
    sweeper.cancel()
    await asyncio.gather(sweeper, return_exceptions=True)
    await feed.close()
    await publisher.close()
    writer.close()
    assert await remove_from_queue([amqp_url], DEAD_QUEUE, set(KEYS)) == {KEYS[0], KEYS[2], KEYS[4]}
