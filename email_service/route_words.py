"""Whose trouble a refusal is: what servers say when they refuse us, and not the one that we write to.

Mail servers say such things at RCPT as readily as at MAIL or after the dot, and most of them with a code that looks
as if the recipient were meant (Postfix holds back whatever it has against a client until RCPT). So the words decide.
"""

import re
from dataclasses import dataclass

from email_service.outcome import Verdict
from shared.contracts import OutcomeKind

IN_A_TRANSACTION = ("mail", "rcpt", "data", "dot")
BAD_SEQUENCE = 503  # "send HELO first": it has lost its place in the conversation


@dataclass(frozen=True, slots=True)
class Trouble:
    """kind: as Verdict.pause. certain: it is about us alone, so that nobody else has to hear the same first."""

    kind: str
    reason: str
    certain: bool = False


HELO = Trouble("helo", "The mail server does not accept the name that we give it (HELO).", certain=True)
TLS = Trouble("tls", "The mail server wants an encrypted connection.", certain=True)
SIGN_IN = Trouble("auth", "The mail server refuses our sign-in.", certain=True)  # by its code: RFC 4954, section 6
AUTH = Trouble("auth", "The mail server wants us to sign in.")
RELAY = Trouble("relay", "The mail server does not pass mail on for us.")
QUOTA = Trouble("quota", "The mail server takes no more from us for now: we have reached its limit.")
CLIENT = Trouble("client", "The mail server takes nothing from our machine.")
SENDER = Trouble("sender", "The mail server does not accept our sender address.")
SAME_WORDS = Trouble("same words", "The mail server refuses everybody in the same words.")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.DOTALL)


_NO = r"(?:denied|refused|rejected|prohibited|forbidden|disallowed|disabled|not (?:permitted|allowed|authori[sz]ed))"
_NOT_TO = (
    r"(?:unable|not (?:permitted|allowed|authori[sz]ed)|refus\w*|unauthori[sz]ed|cannot|can'?t|won'?t|(?:do|does) not|"
    r"don'?t)"
)
_HELO_WORDS = _any(r"\b(?:helo|ehlo)\b")
_TLS_WORDS = _any(
    r"\bstarttls\b",
    r"\b(?:tls|encrypt\w*|secure connection)\b[^.]*\b(?:required|needed|first|only)\b",
    r"\brequires?\b[^.]*\b(?:tls|encrypt\w*|secure connection)\b",
)
_AUTH_WORDS = _any(
    r"\bauthenticat(?:e|ion)\b[^.]*\b(?:required|needed|first|before)\b",
    r"\b(?:must|please|need to|have to)\b[^.]*\b(?:authenticat|log ?in|sign ?in|smtp.?auth)",
    r"\b(?:client|user|session|connection) (?:was |is )?not authenticated\b",
    r"\b(?:turn on|enable|requires?|use)\b[^.]*\b(?:smtp.?auth\w*|authentication)\b",
    r"\bcheck (?:your |for new )?mail first\b|\bpop.before.smtp\b",
)
_RELAY_WORDS = _any(
    rf"\brelay\w*\b[^.]*\b{_NO}\b",
    rf"\b{_NO}\b[^.]*\brelay\w*\b",
    rf"\b{_NOT_TO}\b (?:to )?relay\b",
    r"\b(?:no|open|unauthori[sz]ed) relay(?:ing)?\b",
    r"\brcpthosts\b",
    r"\bnon-accepted domain\b",
)
_QUOTA_WORDS = _any(
    r"\b(?:daily|hourly|monthly|sending|send|message|messages|mail|mails|e-?mails?|outgoing|outbound|rate|relay)\b[^.]{0,40}"
    r"\b(?:limit|quota|allowance)\b[^.]{0,30}\b(?:exceeded|reached|hit)\b",
    r"\bexceed\w*\b[^.]{0,40}\b(?:daily|hourly|monthly|sending|messages?|mails?|e-?mails?|outgoing|rate)\b[^.]{0,30}"
    r"\b(?:limit|quota|allowance)\b",
    r"\brate.?limit(?:ed)?\b",
    r"\b(?:sending|sent) too (?:many|much|fast|quickly)\b|\btoo many (?:messages|mails|e-?mails)\b",
)
_CLIENT_WORDS = _any(
    rf"\b(?:client host|client|your (?:ip|host|server|machine|network|account|mail server))\b[^.]*"
    rf"\b(?:{_NO}|blocked|black ?list\w*|block ?list\w*|listed|suspended|locked|banned)\b",
)
_SENDER_WORDS = _any(
    rf"\b(?:sender|from|mail from|envelope.from|return.path)\b(?: e-?mail)?(?: address)?[^.]{{0,60}}"
    rf"\b(?:{_NO}|not owned|not verified|unverified|verify failed|unknown|does not exist)\b",
    r"\b(?:allowed|permitted|authori[sz]ed|right)\b[^.]*\bsend\b[^.]*\b(?:as|from|on behalf)\b",
    r"\bsendasdenied\b|\bnot owned by user\b|\be-?mail address is not verified\b",
)
_OF_THE_SENDER = {"1.7", "1.8", "7.60"}  # RFC 3463 section 3.2, and Exchange's "send as"
# Exchange: this mailbox or group takes mail of some senders only, or of those who have signed in there
_RESTRICTED = {"7.124", "7.129", "7.133", "7.134", "7.135", "7.136"}
_OF_THE_RECIPIENT = re.compile(r"[45]\.(?:1\.(?:1|2|3|4|6|10)|2\.[0-4])$")
_Known = tuple[tuple[re.Pattern[str], Trouble], ...]
_ABOUT_US_ALONE: _Known = ((_HELO_WORDS, HELO), (_TLS_WORDS, TLS), (_AUTH_WORDS, AUTH), (_RELAY_WORDS, RELAY))
_WORDS: _Known = (*_ABOUT_US_ALONE, (_SENDER_WORDS, SENDER), (_QUOTA_WORDS, QUOTA), (_CLIENT_WORDS, CLIENT))


def is_refusal(verdict: Verdict) -> bool:
    """In a transaction, and by the server's own words: what we find out ourselves has no reply. That a message is too
    big is never about us."""
    refuses = verdict.kind in (OutcomeKind.deferred, OutcomeKind.failed)
    too_big = (verdict.enhanced or "")[2:] in _TOO_BIG or (verdict.code == 552 and verdict.phase != "rcpt")
    return refuses and verdict.reply is not None and verdict.phase in IN_A_TRANSACTION and not too_big


def trouble(verdict: Verdict) -> Trouble | None:
    """What is wrong between the mail server and us, if this refusal says so; None: it may be the recipient's own."""
    if not is_refusal(verdict) or verdict.code == BAD_SEQUENCE:
        return None
    words = _ADDRESS.sub(" ", verdict.reply or "")
    if verdict.pause == "auth":
        return TLS if _TLS_WORDS.search(words) else SIGN_IN
    detail = (verdict.enhanced or "")[2:]
    if detail in _OF_THE_SENDER:
        return SENDER
    if detail in _RESTRICTED:
        return None
    if detail == "7.57":  # Exchange: not authenticated
        return AUTH
    if verdict.enhanced and _OF_THE_RECIPIENT.match(verdict.enhanced) and verdict.phase != "mail":
        known = _ABOUT_US_ALONE
    else:
        known = _WORDS
    return next((which for pattern, which in known if pattern.search(words)), None)


def is_of_the_sender(verdict: Verdict) -> bool:
    """At MAIL no recipient is known yet; what remains is the sender, or the message's size or form."""
    of_message = verdict.code in (552, 555) or (verdict.enhanced or "").startswith(("5.2.3", "5.3.", "5.6."))
    return verdict.phase == "mail" and not of_message


def is_of_a_mailbox(verdict: Verdict) -> bool:
    """Whether a code says that the mailbox is meant."""
    return bool(verdict.enhanced and _OF_THE_RECIPIENT.match(verdict.enhanced)) and verdict.phase in ("rcpt", "dot")


_TOO_BIG = ("2.3", "3.4")  # RFC 3463, sections 3.3 and 3.4
_ADDRESS = re.compile(r"<[^<>]*>|\S+@\S+|\[?\d{1,3}(?:\.\d{1,3}){3}\]?")
_VARIES = re.compile(r"\S*\d\S*|\S+\.\S+|[^\w\s]+")


def normal(verdict: Verdict, address: str) -> str:
    """The words without what differs from one recipient to the next: addresses, names, numbers, ids."""
    local, _, domain = address.lower().rpartition("@")
    words = _VARIES.sub(" ", _ADDRESS.sub(" ", (verdict.reply or "").lower())).split()
    kept = [word for word in words if word not in (local, domain)]
    return " ".join([verdict.phase, str(verdict.code), verdict.enhanced or "", *kept])
