"""A circuit breaker: a mail server that refuses everybody does not refuse the one that we write to.

Refusals in the same words, for one recipient after another and with nothing accepted in between, are a series. While
one grows, further ones are put off instead of given up, as nobody can tell yet whose trouble it is; when it is long
enough, and of more than one domain, it is the route's. docs/decisions/0010 says why the numbers are as they are.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from uuid import UUID

from email_service import route_words
from email_service.outcome import Verdict
from email_service.route_words import Trouble
from shared import topology
from shared.contracts import OutcomeKind

MAX_SERIES = 50
MAX_REMEMBERED = 1000  # recipients of one series
MAX_NAMED = 10  # of those that were given up before it was noticed
TRIES_IN_DOUBT = 5  # of a message that is refused in words that nobody knows
PROVEN_SECONDS = 600  # so long what the server has taken shows that it knows us


@dataclass(frozen=True, slots=True)
class Limits:
    """How many different recipients a series has when it is doubted; when it is the route's, and of how many domains
    they are then. of_one: more of one domain than that are doubted, too."""

    doubted: int
    recipients: int
    domains: int
    of_one: int = MAX_REMEMBERED


KNOWN = Limits(doubted=1, recipients=2, domains=2, of_one=0)  # words that servers say when they mean us
UNKNOWN = Limits(doubted=3, recipients=5, domains=2, of_one=5)
OF_MAILBOXES = Limits(doubted=6, recipients=15, domains=3)  # their codes say that it is the mailbox
OF_SENDERS = Limits(doubted=2, recipients=3, domains=1)  # at MAIL: no recipient has anything to do with it
KNOWN_OF_SENDERS = replace(OF_SENDERS, doubted=1)


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried. attempt: from 1."""

    recipient: str
    sender: str
    message: UUID
    attempt: int

    @property
    def domain(self) -> str:
        return self.recipient.rpartition("@")[2].lower()


@dataclass
class _Series:
    trouble: Trouble
    limits: Limits
    domain_of: dict[str, str] = field(default_factory=dict)  # recipient →
    senders: set[str] = field(default_factory=set)
    messages: set[UUID] = field(default_factory=set)
    given_up: list[str] = field(default_factory=list)

    def add(self, tried: Tried) -> None:
        if len(self.domain_of) < MAX_REMEMBERED:
            self.domain_of[tried.recipient.lower()] = tried.domain
            self.senders.add(tried.sender.lower())
            self.messages.add(tried.message)

    @property
    def domains(self) -> int:
        return len(set(self.domain_of.values()))

    @property
    def is_doubted(self) -> bool:
        count, limits = len(self.domain_of), self.limits
        return count >= limits.doubted and (self.domains >= min(2, limits.domains) or count > limits.of_one)

    @property
    def is_long(self) -> bool:
        """Though perhaps of one domain only, or of one sender."""
        return len(self.domain_of) >= max(self.limits.recipients, 3)


@dataclass(frozen=True, slots=True)
class Judged:
    """verdict: what it comes to; its `pause` says that the whole route is refused. about: the kind of trouble, if it
    is a refusal. alarming: a person should look, though the route goes on. given_up: who was refused for good before
    it was noticed."""

    verdict: Verdict
    about: str = ""
    alarming: bool = False
    given_up: tuple[str, ...] = ()


class Refusals:
    """Of one route, as one worker sees it. scale: as in retry.wait."""

    def __init__(self, scale: float = 1.0) -> None:
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._first_refused: OrderedDict[tuple[str, UUID], float] = OrderedDict()
        self._accepted_at = float("-inf")
        self._shortest_wait = topology.WAIT_SECONDS["30s"] * (1 - topology.WAIT_JITTER) * scale

    def judge(self, verdict: Verdict, tried: Tried, resting: bool = False) -> Judged:
        """resting: the route rests, or is on trial: whatever says that it is not mended is the route's then."""
        if verdict.kind is OutcomeKind.accepted:
            self._accepted_at = time.monotonic()
            self._series.clear()
            return Judged(verdict)
        if (refused := name_refused(verdict)) is not None:
            return Judged(refused, route_words.HELO.kind)
        known = route_words.trouble(verdict)
        gives_up = verdict.kind is OutcomeKind.failed
        if not route_words.is_refusal(verdict) or (known is None and not gives_up):
            return Judged(verdict)
        series = self._series_of(verdict, tried, known)
        if series.trouble is route_words.SAME_WORDS and self._others_were_taken_since(tried):
            return Judged(verdict, series.trouble.kind)
        series.add(tried)
        if self._is_the_routes(series, verdict, known) or (resting and known):
            verdict = _put_off(verdict, series.trouble, series.trouble.kind)
        elif gives_up and self._is_in_doubt(series, known, tried):
            verdict = _put_off(verdict, series.trouble)
        elif gives_up and len(series.given_up) < MAX_NAMED:
            series.given_up.append(tried.recipient)
        alarming = series.is_long or known is route_words.SENDER
        return Judged(verdict, series.trouble.kind, alarming, tuple(series.given_up))

    def _is_the_routes(self, series: _Series, verdict: Verdict, known: Trouble | None) -> bool:
        if series.trouble.certain and not self._accepted_within(PROVEN_SECONDS):
            return True
        if len(series.domain_of) < series.limits.recipients or series.domains < series.limits.domains:
            return False
        if series.trouble is route_words.SENDER:
            return len(series.senders) > 1  # one person's From must not stop everybody's mail
        # what is refused with its content may be refused for its content
        return known is not None or verdict.phase == "rcpt" or len(series.messages) > 1

    def _is_in_doubt(self, series: _Series, known: Trouble | None, tried: Tried) -> bool:
        if known is None and series.trouble is not route_words.SENDER:
            return series.is_doubted and tried.attempt <= TRIES_IN_DOUBT
        # put off before, and meanwhile the server has taken others: it means this one
        means_this_one = tried.attempt > 1 and self._accepted_within(self._shortest_wait)
        return series.is_doubted and not means_this_one

    def _others_were_taken_since(self, tried: Tried) -> bool:
        """Since it was first refused: then the server means this one, and says nothing about us."""
        key = tried.recipient.lower(), tried.message
        first = self._first_refused.setdefault(key, time.monotonic())
        if len(self._first_refused) > MAX_REMEMBERED:
            self._first_refused.popitem(last=False)
        return self._accepted_at > first

    def _accepted_within(self, seconds: float) -> bool:
        return time.monotonic() - self._accepted_at < seconds

    def _series_of(self, verdict: Verdict, tried: Tried, known: Trouble | None) -> _Series:
        if known is None and route_words.is_of_the_sender(verdict):
            trouble, limits = route_words.SENDER, OF_SENDERS
        elif known is None:
            limits = OF_MAILBOXES if route_words.is_of_a_mailbox(verdict) else UNKNOWN
            trouble = route_words.SAME_WORDS
        else:
            trouble, limits = known, KNOWN_OF_SENDERS if known is route_words.SENDER else KNOWN
        key = route_words.normal(verdict, tried.recipient) if known is None else known.kind
        if key not in self._series:
            while len(self._series) >= MAX_SERIES:
                self._series.popitem(last=False)
            self._series[key] = _Series(trouble, limits)
        self._series.move_to_end(key)
        return self._series[key]


def name_refused(verdict: Verdict) -> Verdict | None:
    """A refusal of EHLO or HELO, if this is one: nothing but our name was said so far."""
    if verdict.phase != "ehlo" or verdict.code is None or verdict.code < 500:
        return None
    return _put_off(verdict, route_words.HELO, route_words.HELO.kind)


def _put_off(verdict: Verdict, trouble: Trouble, pause: str | None = None) -> Verdict:
    return replace(verdict, kind=OutcomeKind.deferred, reason=trouble.reason, suppress=False, pause=pause)
