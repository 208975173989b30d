import asyncio

import pytest

from email_service.throttle import GiveBack, Throttle
from shared.lanes import Lane


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def waiting(throttle: Throttle, lane: Lane, order: list[str], name: str, go: asyncio.Event) -> None:
    async with throttle.slot(lane):
        order.append(name)
        await go.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_bulk_leaves_places_for_urgent_and_urgent_goes_first() -> None:
    throttle, order, go = Throttle(5), [], asyncio.Event()
    tasks = [asyncio.create_task(waiting(throttle, Lane.bulk, order, f"bulk {n}", go)) for n in range(10)]
    await settle()
    assert len(order) == 4  # one of five is kept free
    tasks.append(asyncio.create_task(waiting(throttle, Lane.urgent, order, "urgent 1", go)))
    await settle()
    assert order[-1] == "urgent 1"
    for lane, name in ((Lane.normal, "normal"), (Lane.urgent, "urgent 2")):
        tasks.append(asyncio.create_task(waiting(throttle, lane, order, name, go)))
    await settle()
    assert len(order) == 5
    go.set()
    await asyncio.gather(*tasks)
    assert order[5:7] == ["urgent 2", "normal"]
    assert throttle.in_use == 0


async def test_one_connection_serves_all_lanes() -> None:
    throttle, order, go = Throttle(1), [], asyncio.Event()
    go.set()
    for lane in Lane:
        await waiting(throttle, lane, order, lane, go)
    assert order == list(Lane)


async def test_a_busy_server_gets_half_and_slowly_more_again() -> None:
    clock = Clock()
    throttle = Throttle(10, clock)
    for _ in range(5):
        throttle.slow_down()  # all in the same moment: one complaint
    assert throttle.limit == 5
    clock.now += 3
    throttle.slow_down()
    assert throttle.limit == 2
    throttle.went_well()
    assert throttle.limit == 2
    for expected in (3, 4, 5, 6, 7, 8, 9, 10, 10):
        clock.now += 31
        throttle.went_well()
        assert throttle.limit == expected


async def test_while_the_route_rests_deliveries_are_given_back() -> None:
    throttle, order, go = Throttle(1), [], asyncio.Event()
    first = asyncio.create_task(waiting(throttle, Lane.bulk, order, "first", go))
    await settle()
    second = asyncio.create_task(waiting(throttle, Lane.bulk, order, "second", go))
    await settle()
    throttle.pause("The mail server refuses our sign-in.")
    with pytest.raises(GiveBack, match="sign-in"):
        await second
    with pytest.raises(GiveBack):
        await waiting(throttle, Lane.urgent, order, "third", go)
    go.set()
    await first
    throttle.open()
    await waiting(throttle, Lane.bulk, order, "fourth", go)
    assert order == ["first", "fourth"]


async def test_one_who_is_cancelled_while_waiting_takes_no_place() -> None:
    throttle, order, go = Throttle(1), [], asyncio.Event()
    first = asyncio.create_task(waiting(throttle, Lane.bulk, order, "first", go))
    await settle()
    second = asyncio.create_task(waiting(throttle, Lane.bulk, order, "second", go))
    await settle()
    go.set()
    await first  # lets the second in …
    second.cancel()  # … which is cancelled in the same moment
    await asyncio.wait({second})
    await asyncio.wait_for(waiting(throttle, Lane.bulk, order, "third", go), 10)
    assert throttle.in_use == 0
