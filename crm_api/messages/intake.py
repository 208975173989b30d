"""Takes messages in, several in one commit: those that come while one is being made go into the next together.

A commit costs a write that the disk has really done, and that is shared; so is every statement. Nobody waits for
company: a message that comes alone is committed alone, at once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from crm_api.auth.principal import Principal
from crm_api.db import Database
from crm_api.errors import Problem
from crm_api.messages.idempotency import Answer, Key, answered, keep, same
from crm_api.messages.planning import Plan, hold_back, plan, store
from crm_api.messages.schemas import MessageDraft
from crm_api.settings import CrmSettings
from shared.files import FileStore

MOST_DELIVERIES = 500  # in one commit, or one message, so that nobody waits for very many


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """tell: what is answered, and answered again to who comes with the same key."""

    draft: MessageDraft
    principal: Principal
    clicked_at: datetime
    tell: Callable[[Plan], str]
    key: Key | None = None
    answer: Future[Answer] = field(default_factory=Future)

    def settle(self, answer: Answer | Exception) -> None:
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Intake:
    """One thread: SQLite has one writer anyway, and on PostgreSQL one that commits for all is fast enough."""

    def __init__(self, database: Database, files: FileStore, settings: CrmSettings) -> None:
        self._database, self._files, self._settings = database, files, settings
        self._waiting: deque[Request] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")

    def take(self, request: Request) -> Future[Answer]:
        """Done when the message is committed. Fails with the Problem of its draft, or with SQLAlchemyError."""
        self._waiting.append(request)
        self._thread.submit(self._work)
        return request.answer

    def close(self) -> None:
        """Returns when all that were taken are answered."""
        self._thread.shutdown()

    def _work(self) -> None:
        together = self._next()
        try:
            self._commit(together)
        except IntegrityError:
            # somebody else was first, with a key or with removing a customer: each looks again, by itself
            for request in together:
                try:
                    self._commit([request])
                except Exception as problem:
                    request.settle(problem)
        except Exception as problem:
            for request in together:
                request.settle(problem)

    def _next(self) -> list[Request]:
        """All that wait. None, if this turn's own was taken along by an earlier one."""
        together: list[Request] = []
        deliveries = 0
        while self._waiting and (not together or deliveries + len(self._waiting[0].draft.to) <= MOST_DELIVERIES):
            request = self._waiting.popleft()
            if request.answer.set_running_or_notify_cancel():  # else who asked has gone
                together.append(request)
                deliveries += len(request.draft.to)
        return together

    def _plan(self, session: Session, request: Request) -> Plan:
        return plan(session, self._files, self._settings, request.draft, request.principal, request.clicked_at)

    def _commit(self, together: Sequence[Request]) -> None:
        """Answers each. Raises SQLAlchemyError; then nothing is stored and nobody is answered."""
        if not together:
            return
        answers: dict[Request, Answer | Exception] = {}
        plans: dict[Request, Plan] = {}
        with self._database.read() as session:
            for request in together:
                try:
                    plans[request] = self._plan(session, request)
                except Problem as problem:
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
                with hot.transaction():
                    store(hot, list(plans.values()))
                    keep(hot, [(request.key, answer) for request, answer in taken.items() if request.key])
                answers |= taken
        for request, answer in answers.items():
            request.settle(answer)
