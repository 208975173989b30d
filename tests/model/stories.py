"""Short stories of one letter, told step by step up to the moment that matters; what follows is books.settle."""

from __future__ import annotations

from collections.abc import Callable

from crm_api.errors import Conflict
from crm_api.messages import actions
from crm_api.messages.models import Delivery
from shared.lanes import Lane
from shared.topology import OUTCOMES_QUEUE, lane_queue
from tests.model import books
from tests.model.house import Dispatch, House, Worker
from tests.model.server import CLOSE, TAKE_AND

LANE = Lane.urgent
QUEUE = lane_queue(LANE)
NOBODY = "550 5.1.1 nobody"


def until(process: Worker | Dispatch, reached: Callable[[], object]) -> None:
    while not reached():
        assert process.run(1), "it never comes to that"


def carried(house: House) -> Dispatch:
    """A letter whose relay has it in hand."""
    house.town.crm.send("ada@example.com", lane=LANE)
    dispatch = house.dispatches[0]
    dispatch.carry(LANE)
    until(dispatch, lambda: dispatch.lines.get("publish"))
    return dispatch


def sent(house: House) -> Worker:
    """A letter that lies in its lane queue, and the worker that will get it."""
    carried(house).run(100)
    assert len(house.broker.queues[QUEUE]) == 1
    return house.workers[0]


def the_letter(house: House) -> Delivery:
    (only,) = books.deliveries(house)
    return only


def a_worker_dies_early(house: House) -> None:
    sent(house).run(6)
    house.kill(0, arrive=True)


def two_copies_at_once(house: House) -> None:
    sent(house)
    (letter,) = house.broker.queues[QUEUE]
    house.broker.queues[QUEUE].append(letter.copy())
    for worker in house.workers * 100:
        worker.run(1)


def its_ack_is_lost(house: House) -> None:
    worker = sent(house)
    until(worker, lambda: house.broker.queues[OUTCOMES_QUEUE])
    for channel in list(worker.channels):
        channel.lose(arrive=False, reconnect=True)


def _nothing_but_acks_gets_out(house: House) -> None:
    worker = house.workers[0]
    until(worker, lambda: worker.lines.get("publish"))
    worker.flush("settle", arrive=True)
    house.kill(0, arrive=False)


def its_report_is_lost(house: House) -> None:
    sent(house)
    _nothing_but_acks_gets_out(house)


def its_next_attempt_is_lost(house: House) -> None:
    house.server.plan("rcpt", "450 4.2.1 later")
    sent(house)
    _nothing_but_acks_gets_out(house)


def it_is_refused(house: House) -> None:
    house.server.plan("rcpt", NOBODY)
    sent(house).run(100)


def the_server_hangs_up_after_the_dot(house: House) -> None:
    house.server.plan("dot", TAKE_AND + CLOSE)
    sent(house).run(100)


def a_worker_dies_after_the_dot(house: House) -> None:
    until(sent(house), lambda: house.server.taken)
    house.kill(0, arrive=False)


def its_command_is_lost(house: House) -> None:
    carried(house).publisher.lose(arrive=False)


def its_confirm_is_lost(house: House) -> None:
    dispatch = carried(house)
    dispatch.publisher.lose(arrive=True)
    dispatch.run(100)
    crm = house.town.crm
    try:
        with crm.database.write() as session:
            actions.cancel(session, the_letter(house).id, crm.principal)
    except Conflict:
        return  # told so


def dispatch_dies_before_it_commits(house: House) -> None:
    sent(house).run(100)
    dispatch = house.dispatches[0]
    assert dispatch.run(1)
    dispatch.flush("settle", arrive=True)
    house.kill(2, arrive=False)


def an_event_comes_again_late(house: House) -> None:
    house.server.plan("rcpt", "450 4.2.1 later")
    sent(house).run(100)
    (event,) = house.broker.queues[OUTCOMES_QUEUE]
    books.settle(house)
    house.broker.queues[OUTCOMES_QUEUE].append(event.copy())


def it_is_sent_again(house: House) -> None:
    it_is_refused(house)
    books.settle(house)
    crm = house.town.crm
    with crm.database.write() as session:
        actions.retry(session, crm.settings, the_letter(house).id, crm.principal)
