"""Takes messages in, several in one commit: those that come while one is being made go into the next together.

A commit costs a write that the disk has really done, and that is shared; so is every statement. Nobody waits for
company: a message that comes alone is committed alone, at once.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import Session

from crm_api.auth.principal import Principal
from crm_api.auth.sealing import seal_of
from crm_api.db import Database
from crm_api.hot import Hot
from crm_api.messages.idempotency import Answer, Key, answered, keep, same
from crm_api.messages.planning import Plan, hold_back, plan, store
from crm_api.messages.schemas import MessageDraft
from crm_api.messages.throttle import SendThrottle
from crm_api.settings import CrmSettings
from shared.fields import SECRET
from shared.files import FileStore
from shared.tasks import WatchedThread

MOST_DELIVERIES = 500  # in one commit, or one message, so that nobody waits for very many


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """tell: what is answered, and answered again to who comes with the same key."""

    draft: MessageDraft
    principal: Principal
    clicked_at: datetime
    tell: Callable[[Plan], str]
    key: Key | None = None


Answers = dict[Request, Answer | Exception]
_Waiting = tuple[Request, asyncio.Future[Answer]]


class Intake:
    """One thread writes: SQLite has one writer anyway, and on PostgreSQL one that commits for all is fast enough."""

    def __init__(self, database: Database, files: FileStore, settings: CrmSettings) -> None:
        self._database, self._files, self._settings = database, files, settings
        self._throttle = SendThrottle(settings.sends_per_minute)
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop
        self._thread: WatchedThread

    def start(self) -> None:
        """In the event loop that takes."""
        self._loop = asyncio.get_running_loop()
        self._thread = WatchedThread(self._run, "intake", self._loop)
        self._thread.start()

    def close(self) -> None:
        """Returns when all that were taken are committed."""
        self._queue.put(None)
        self._thread.join()

    def digest(self, body: str) -> str:
        """By which the same body is known again. A code in it could be guessed, so then it takes our key."""
        if f'"{SECRET}' in body:
            return seal_of(self._settings).hash(body, "body of a request")
        return hashlib.sha256(body.encode()).hexdigest()

    async def take(self, request: Request) -> Answer:
        """Returns when the message is committed. Raises TooMany, the Problem of its draft, or SQLAlchemyError."""
        self._throttle.take(request.principal.scope, len(request.draft.to))
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put((request, answer))
        return await answer

    def _run(self) -> None:
        while together := self._next():
            answers = self._answers([request for request, _ in together])
            self._loop.call_soon_threadsafe(_settle, together, answers)

    def _next(self) -> list[_Waiting]:
        """All that wait, at least one; empty when there will be none any more."""
        together: list[_Waiting] = []
        deliveries = 0
        while deliveries < MOST_DELIVERIES and not (together and self._queue.empty()):
            waiting = self._queue.get()
            if waiting is None:
                self._queue.put(None)  # to be found again when these are done
                break
            together.append(waiting)
            deliveries += len(waiting[0].draft.to)
        return together

    def _answers(self, together: Sequence[Request]) -> Answers:
        try:
            return self._commit(together)
        except IntegrityError:
            # somebody else was first, with a key or with removing a customer: each looks again, by itself
            return {request: self._answer(request) for request in together}
        except Exception as problem:
            return dict.fromkeys(together, problem)

    def _answer(self, request: Request) -> Answer | Exception:
        try:
            return self._commit([request])[request]
        except Exception as problem:
            return problem

    def _commit(self, together: Sequence[Request]) -> Answers:
        """Raises SQLAlchemyError; then nothing is stored."""
        answers: Answers = {}
        plans: dict[Request, Plan] = {}
        with self._database.read() as session:
            for request in together:
                try:
                    plans[request] = self._plan(session, request)
                except SQLAlchemyError:
                    raise  # what the others are told by this session is worth nothing, either
                except Exception as problem:
                    answers[request] = problem
        with self._database.hot() as hot:
            before = answered(hot, [request.key for request in together if request.key])
            for request in together:
                if request.key and (row := before.get(request.key.name)):
                    plans.pop(request, None)
                    answers[request] = same(row, request.key)
            if plans:
                hold_back(hot, list(plans.values()))
                taken = {request: Answer(plan.id, request.tell(plan)) for request, plan in plans.items()}
                kept = [(request.key, answer) for request, answer in taken.items() if request.key]
                self._store(hot, list(plans.values()), kept)
                answers |= taken
        return answers

    def _plan(self, session: Session, request: Request) -> Plan:
        return plan(session, self._files, self._settings, request.draft, request.principal, request.clicked_at)

    def _store(self, hot: Hot, plans: Sequence[Plan], answers: Sequence[tuple[Key, Answer]]) -> None:
        with hot.transaction():
            store(hot, plans)
            keep(hot, answers)


def _settle(together: Sequence[_Waiting], answers: Answers) -> None:
    for request, waiting in together:
        answer = answers[request]
        if waiting.done():  # who asked has gone
            continue
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
