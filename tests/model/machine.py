"""Everything that can happen to a letter, in any order: Hypothesis looks for the order that breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlmodel import select

from crm_api.errors import Problem
from crm_api.messages import actions
from crm_api.messages.models import Delivery
from crm_api.messages.states import State
from crm_api.outbox.store import Letters
from shared import topology
from shared.amqp import properties
from shared.contracts import SendCommand, encode
from shared.lanes import Lane
from tests.model import books
from tests.model.broker import Letter
from tests.model.house import Dispatch, House, Town, Worker
from tests.model.server import CLOSE, GARBAGE, SILENCE, TAKE_AND

MOST_LETTERS = 6  # in one example

PROCESS = some.integers(0, 3)  # two workers, two dispatches
LANE = some.sampled_from(list(Lane))
PICK = some.integers(0, 5)
SECONDS = some.sampled_from([0.03, 1, 5, 31, 61, 101, 130, 600, 1000, 5000, 20_000])
BEFORE_THE_DOT = ["421 4.3.2 busy", "450 4.2.1 later", "550 5.1.1 nobody", "552 5.2.2 full", CLOSE, SILENCE, GARBAGE]
AT_THE_DOT = [*BEFORE_THE_DOT, TAKE_AND + CLOSE, TAKE_AND + SILENCE, TAKE_AND + GARBAGE, TAKE_AND + "421 4.3.2 bye"]
MISCHIEF = some.one_of(
    some.tuples(some.sampled_from(["greeting", "mail", "rcpt", "data"]), some.sampled_from(BEFORE_THE_DOT)),
    some.tuples(some.just("dot"), some.sampled_from(AT_THE_DOT)),
)


class Pipeline(RuleBasedStateMachine):
    def __init__(self, town: Town) -> None:
        super().__init__()
        self.house = House(town)
        self.letters = 0

    # ---- people ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.letters < MOST_LETTERS)
    @rule(lane=LANE, count=some.integers(1, 2))
    def send(self, lane: Lane, count: int) -> None:
        addresses = [f"p{self.letters + number}@example.com" for number in range(count)]
        self.letters += count
        self.house.town.crm.send(*addresses, lane=lane)

    @precondition(lambda self: self.letters)
    @rule(number=some.integers(0, MOST_LETTERS), verb=some.sampled_from(["cancel", "retry", "discard"]))
    def person(self, number: int, verb: str) -> None:
        found = books.deliveries(self.house)
        delivery, crm = found[number % len(found)], self.house.town.crm
        try:
            with crm.database.write() as session:
                if verb == "retry":
                    actions.retry(session, crm.settings, delivery.id, crm.principal)
                else:
                    getattr(actions, verb)(session, delivery.id, crm.principal)
        except Problem:
            return  # told so, and nothing changed

    # ---- the machine, step by step --------------------------------------------------------------------------------

    @rule(steps=some.integers(1, 60), pick=PICK)
    def go_on(self, steps: int, pick: int) -> None:
        """Everybody works for a while."""
        for dispatch in self.house.dispatches:
            for lane in Lane:
                dispatch.carry(lane)
        for process in self.house.processes:
            process.run(steps, pick)

    @rule(process=PROCESS, steps=some.integers(1, 25), pick=PICK)
    def one_goes_on(self, process: int, steps: int, pick: int) -> None:
        """The others stand still."""
        self.house.processes[process].run(steps, pick)

    @rule(dispatch=some.integers(0, 1), lane=LANE)
    def relay(self, dispatch: int, lane: Lane) -> None:
        self.house.dispatches[dispatch].carry(lane)

    @rule(dispatch=some.integers(0, 1))
    def sweep(self, dispatch: int) -> None:
        self.house.dispatches[dispatch].sweep()

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.house.wait(seconds)

    @rule(process=PROCESS)
    def wake_up(self, process: int) -> None:
        """Its timers go off before it reads what lies in its sockets."""
        self.house.processes[process].loop.drain()

    # ---- what goes wrong -----------------------------------------------------------------------------------------

    @rule(process=PROCESS, arrive=some.booleans(), noticed=some.booleans())
    def kill(self, process: int, arrive: bool, noticed: bool) -> None:
        self.house.kill(process, arrive, noticed)

    @rule(process=PROCESS, steps=some.integers(1, 25), arrive=some.booleans())
    def die_on_the_way(self, process: int, steps: int, arrive: bool) -> None:
        self.house.processes[process].run(steps)
        self.house.kill(process, arrive)

    @rule(worker=some.integers(0, 1))
    def stop(self, worker: int) -> None:
        """SIGTERM; what it still has to say is said."""
        process = self.house.workers[worker]
        process.stop()
        for channel in process.channels:
            channel._prefetch = 0
        process.run(200)
        self.house.kill(worker, arrive=True)

    @rule(process=PROCESS, arrive=some.booleans())
    def lose_consumer_link(self, process: int, arrive: bool) -> None:
        for channel in list(self.house.processes[process].channels):
            channel.lose(arrive, reconnect=True)

    @rule(process=PROCESS, arrive=some.booleans())
    def lose_publisher_link(self, process: int, arrive: bool) -> None:
        found: Worker | Dispatch = self.house.processes[process]
        found.publisher.lose(arrive)

    @rule(count=some.integers(1, 3))
    def broker_refuses(self, count: int) -> None:
        self.house.broker.refusals += count

    @rule(mischief=MISCHIEF)
    def server_misbehaves(self, mischief: tuple[str, str]) -> None:
        self.house.server.plan(*mischief)

    @rule(pipelining=some.booleans())
    def another_server(self, pipelining: bool) -> None:
        self.house.server.pipelining = pipelining

    @rule(queue=some.sampled_from([name for name in (queue.name for queue in topology.QUEUES) if "dead" not in name]))
    def repeat(self, queue: str) -> None:
        """As published twice because a confirm was lost."""
        letters = self.house.broker.queues[queue]
        if letters:
            letters.append(letters[0].copy(due=letters[0].due))

    @rule(queue=some.sampled_from([queue.name for queue in topology.QUEUES if "wait" not in queue.name]))
    def reorder(self, queue: str) -> None:
        letters = self.house.broker.queues[queue]
        letters[:] = letters[1:] + letters[:1]

    @precondition(lambda self: self.letters)
    @rule(number=some.integers(0, MOST_LETTERS))
    def requeue(self, number: int) -> None:
        """What reconciliation does for a delivery that seems lost, at a moment when it is not."""
        found = [row for row in books.deliveries(self.house) if books.goes_on(row) and row.state != State.pending]
        if found:
            self._publish_again(found[number % len(found)])

    def _publish_again(self, delivery: Delivery) -> None:
        letters = Letters()
        row: Any = SimpleNamespace(**delivery.model_dump())
        with self.house.town.database.read() as session:
            letters.load(session, [row])
        command = letters.command(row, Lane(delivery.lane))
        seen = int(self.house.clock.time())
        letter = Letter(
            encode(command),
            properties(SendCommand.TYPE, command.key, x_attempt=delivery.attempt + 1, x_first_seen=seen),
            topology.lane_key(command.lane),
        )
        assert self.house.broker.publish(topology.COMMANDS, letter.routing_key, letter)

    # ---- what is promised -----------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        books.settle(self.house)

    @invariant()
    def always(self) -> None:
        books.check_always(self.house)

    def teardown(self) -> None:
        try:
            books.settle(self.house)
        finally:
            self.house.close()


Check = Callable[[], None]
__all__ = ["Pipeline", "select"]
