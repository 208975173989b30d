"""Everything that can happen to a letter, in any order: Hypothesis looks for the order that breaks a promise."""

from __future__ import annotations

from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crm_api.errors import Problem
from crm_api.messages import actions
from crm_api.messages.states import State
from crm_api.reconciliation import letters
from shared import topology
from shared.lanes import Lane
from tests.model import books
from tests.model.house import Dispatch, House, Town, Worker
from tests.model.server import CLOSE, GARBAGE, SILENCE, TAKE_AND

MOST_LETTERS = 6  # in one example

PROCESS = some.integers(0, 3)  # two workers, two dispatches
LANE = some.sampled_from(list(Lane))
PICK = some.integers(0, 5)
SECONDS = some.sampled_from([0.03, 1, 5, 31, 61, 101, 130, 600, 1000, 5000, 20_000])
BEFORE_THE_DOT = ["421 4.3.2 busy", "450 4.2.1 later", "550 5.1.1 nobody", "552 5.2.2 full", CLOSE, SILENCE, GARBAGE]
AT_THE_DOT = [*BEFORE_THE_DOT, TAKE_AND + CLOSE, TAKE_AND + SILENCE, TAKE_AND + GARBAGE]
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

    @initialize(lane=LANE, mischief=some.lists(MISCHIEF, max_size=3))
    def begin(self, lane: Lane, mischief: list[tuple[str, str]]) -> None:
        self.send(lane, 2)
        self.server_misbehaves(mischief, True)

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

    @rule(process=PROCESS, steps=some.integers(0, 25), pick=PICK, arrive=some.booleans(), noticed=some.booleans())
    def kill(self, process: int, steps: int, pick: int, arrive: bool, noticed: bool) -> None:
        """arrive: what it had written to its sockets gets there. noticed: a supervisor frees its letters at once."""
        self.house.processes[process].run(steps, pick)
        self.house.kill(process, arrive, noticed)

    @rule(worker=some.integers(0, 1), steps=some.integers(0, 4), arrive=some.booleans(), kill=some.booleans())
    def after_the_dot(self, worker: int, steps: int, arrive: bool, kill: bool) -> None:
        """The server has just taken a letter: the moment in which most can go wrong."""
        process, taken = self.house.workers[worker], len(self.house.server.taken)
        while len(self.house.server.taken) == taken and process.run(1):
            pass
        process.run(steps)
        if kill:
            self.house.kill(worker, arrive)
        else:
            self._lose(process, arrive, "both")

    @rule(worker=some.integers(0, 1), steps=some.integers(0, 25), pick=PICK)
    def stop(self, worker: int, steps: int, pick: int) -> None:
        """SIGTERM; what it still has to say is said."""
        process = self.house.workers[worker]
        process.run(steps, pick)
        process.stop()
        process.run(200)
        self.house.kill(worker, arrive=True)

    @rule(
        process=PROCESS,
        steps=some.integers(0, 25),
        pick=PICK,
        arrive=some.booleans(),
        link=some.sampled_from(["in", "out", "both"]),
    )
    def lose_link(self, process: int, steps: int, pick: int, arrive: bool, link: str) -> None:
        """arrive: what was under way got there, and only the answer is lost."""
        found = self.house.processes[process]
        found.run(steps, pick)
        self._lose(found, arrive, link)

    def _lose(self, process: Worker | Dispatch, arrive: bool, link: str) -> None:
        if link != "in":
            process.publisher.lose(arrive)
        for channel in list(process.channels) if link != "out" else ():
            channel.lose(arrive, reconnect=True)

    @rule(mischief=some.lists(MISCHIEF, min_size=1, max_size=4), pipelining=some.booleans())
    def server_misbehaves(self, mischief: list[tuple[str, str]], pipelining: bool) -> None:
        self.house.server.pipelining = pipelining
        for phase, answer in mischief:
            self.house.server.plan(phase, answer)

    @rule(count=some.integers(1, 3))
    def broker_refuses(self, count: int) -> None:
        self.house.broker.refusals += count

    @rule(
        queue=some.sampled_from([queue.name for queue in topology.QUEUES if "dead" not in queue.name]),
        reorder=some.booleans(),
    )
    def repeat(self, queue: str, reorder: bool) -> None:
        """As published twice because a confirm was lost; or only another order."""
        found = self.house.broker.queues[queue]
        if reorder and "wait" not in queue:
            found[:] = found[1:] + found[:1]
        elif found:
            found.append(found[0].copy(due=found[0].due))

    @precondition(lambda self: self.letters)
    @rule(number=some.integers(0, MOST_LETTERS))
    def requeue(self, number: int) -> None:
        """What reconciliation does for a letter that the broker has lost, at a moment when it has not."""
        found = [row for row in books.deliveries(self.house) if books.goes_on(row) and row.state != State.pending]
        if found:
            with self.house.town.database.write() as session:
                letters.requeue(session, [found[number % len(found)]])  # type: ignore[list-item]

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
