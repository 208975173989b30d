"""What an attempt came to: replies and failures of an SMTP conversation, classified (RFC 5321, RFC 3463).

The first digit decides and the enhanced code refines. What went wrong before the final dot is deferred or
failed; after it, without an answer, it is unknown: nobody can tell whether the server has taken the letter.
"""

import re
from dataclasses import dataclass

from shared.contracts import OutcomeKind

_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)")
_QUEUE_ID = (
    re.compile(r"\bqueued (?:mail )?as\s+<?([\w.@+=/-]+)", re.IGNORECASE),  # Postfix, Mailpit, OpenSMTPD
    re.compile(r"\bid=([\w.@+=/-]+)", re.IGNORECASE),  # Exim
    re.compile(r"\bInternalId=(\d+)", re.IGNORECASE),  # Exchange
    re.compile(r"\bMessage Queued \(([\w.-]+)\)", re.IGNORECASE),  # Haraka
    re.compile(r"^(?:[245]\.\d+\.\d+ )?([A-Za-z0-9]{8,}) Message accepted", re.IGNORECASE),  # sendmail
    re.compile(r"^(?:[245]\.\d+\.\d+ )?Ok:? ([0-9a-f][\w-]{9,})", re.IGNORECASE),  # Amazon, Google
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
MAX_REPLY_CHARACTERS = 1000

_OUT_OF_STEP = {500, 502, 503}  # it does not know where it is in the conversation
_WORN = re.compile(  # "too many messages in this session", "limit of transactions reached for this connection"
    r"\b(?:session|connection)\b.*\b(?:limit|exceed|maximum|too many)|"
    r"\b(?:limit|exceed|maximum|too many)\w*\b.*\b(?:session|connection|transaction)|"
    r"\btoo many (?:messages|mails|e-?mails|recipients|commands|errors)\b",
    re.IGNORECASE | re.DOTALL,
)
_OF_THE_MESSAGE = re.compile(r"5\.(?:1\.\d+|2\.\d+|3\.4|6\.\d+|7\.\d+)$")

NO_SUCH_MAILBOX = "5.1.1"
OF_THE_RECIPIENT = ("rcpt", "dot")  # only here can a refusal mean the mailbox: MAIL and AUTH are about us
_OF_A_SENDER = re.compile(r"\b(?:sender|senders|mail from|envelope.from|return.path|reverse.path)\b", re.IGNORECASE)
SIGN_IN_WANTED = {530, 534, 535, 538}  # RFC 4954, section 6: our fault at this route, not the recipient's

_BY_ENHANCED = {
    "1.1": "There is no such mailbox.",
    "1.2": "There is no mail server for this address.",
    "1.3": "Their server says the address is not written correctly.",
    "1.6": "The person has moved and left no new address.",
    "1.8": "Their server does not accept our sender address.",
    "1.10": "This domain takes no mail at all.",
    "2.0": "There is something wrong with the mailbox.",
    "2.1": "The mailbox is closed.",
    "2.2": "The mailbox is full.",
    "2.3": "The letter is too big for this mailbox.",
    "3.1": "Their server has no room left.",
    "3.2": "Their server takes no mail at the moment.",
    "3.4": "The letter is too big for their server.",
    "4.1": "Their server does not take mail for this address.",
    "4.4": "There is no mail server for this address.",
    "7.23": "Their server does not trust our sender address (SPF).",
    "7.25": "Their server does not trust our mail server (no reverse name).",
    "7.26": "Their server does not trust our sender address (SPF, DKIM or DMARC).",
}
_BY_CODE = {
    421: "Their server is busy and has closed the connection.",
    451: "Their server has a problem of its own and asks us to wait.",
    452: "Their server has no room at the moment.",
    552: "The letter is too big for their server.",
    554: "Their server refuses the letter.",
}
# what only the reply to RCPT can mean: before it nobody has been named, and after it the message is judged
_OF_THE_ADDRESS = {
    450: "The mailbox is busy and their server asks us to wait.",
    550: "Their server refuses this address.",
    551: "The person is not at this server any more.",
    553: "Their server says the address is not written correctly.",
}
_SENDER_REFUSED = "Their server does not accept our sender address."
_OF_THE_SENDER = {  # the same codes, said to MAIL
    "1.3": "Their server says that our sender address is not written correctly.",
    "1.7": "Their server says that our sender address is not written correctly.",
    "2.2": "Their server says that our own mailbox there is full.",
    "2.3": "The letter is too big for their server.",
}


@dataclass(slots=True)
class Verdict:
    kind: OutcomeKind
    phase: str
    reason: str
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    queue_id: str | None = None
    suppress: bool = False
    pause: str | None = None  # why the whole route has to rest: auth, tls
    unreachable: bool = False  # the server could not be talked to at all
    slow_down: bool = False  # 421: fewer connections
    hung_up: bool = False  # the connection was closed where a reply was due


class Stopped(Exception):
    """The conversation ended early; the verdict says how. `broken`: the connection cannot be used again."""

    def __init__(self, verdict: Verdict, broken: bool = True) -> None:
        super().__init__(verdict.reason)
        self.verdict, self.broken = verdict, broken


def clean(text: str) -> str:
    """A server's words, fit to be stored and shown: no control characters, no broken UTF-8, not endless."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _CONTROL.sub("�", text)[:MAX_REPLY_CHARACTERS]


def enhanced_code(text: str) -> str | None:
    found = _ENHANCED.match(text)
    return found[1] if found else None


def queue_id(text: str) -> str | None:
    """The id under which the server has taken the letter, if it names one."""
    for pattern in _QUEUE_ID:
        if found := pattern.search(text):
            return found[1]
    return None


def of_reply(phase: str, code: int, text: str) -> Verdict:
    """Verdict for a reply that ends the attempt, the good one after the dot included."""
    text = clean(text)
    enhanced = enhanced_code(text)
    verdict = Verdict(_kind(phase, code), phase, "", code, enhanced, text, slow_down=code == 421)
    if verdict.kind is OutcomeKind.accepted:
        verdict.queue_id = queue_id(text)
    elif code in SIGN_IN_WANTED and phase in ("auth", "mail", "rcpt"):
        verdict.kind, verdict.pause = OutcomeKind.deferred, "auth"
    elif phase == "auth":
        verdict.pause = "auth"
    elif phase == "tls":
        verdict.pause = "tls"
    elif phase in ("greeting", "ehlo"):
        verdict.unreachable = True
    if verdict.kind is OutcomeKind.failed and phase in OF_THE_RECIPIENT:
        verdict.suppress = enhanced == NO_SUCH_MAILBOX and not _of_a_sender(verdict)
    verdict.reason = _reason(verdict, code)
    return verdict


def of_connection(verdict: Verdict) -> bool:
    """Whether an end before the content, on a connection kept from earlier, tells of that connection alone.

    Another connection is asked then, at once. In doubt it is: a refusal that was meant comes again.
    """
    code, phase = verdict.code, verdict.phase
    if phase == "rset":
        return True
    if code is None:  # it broke; or, failed, it is our own judgement
        return verdict.kind is OutcomeKind.deferred and (phase == "mail" or verdict.hung_up)
    if code == 421 or code in _OUT_OF_STEP or code in SIGN_IN_WANTED or not 400 <= code < 600:
        return True
    if _WORN.search(verdict.reply or ""):
        return True
    if phase != "mail" or code in (552, 553):
        return False
    return code < 500 or not _OF_THE_MESSAGE.match(verdict.enhanced or "")


def _kind(phase: str, code: int) -> OutcomeKind:
    if phase in ("connect", "greeting", "ehlo", "tls", "auth", "rset"):
        return OutcomeKind.deferred  # the route's trouble, never the letter's
    if phase == "dot" and 200 <= code < 300:
        return OutcomeKind.accepted
    if 400 <= code < 500:
        return OutcomeKind.deferred
    if code == 552 and phase == "rcpt":
        return OutcomeKind.deferred  # "too many recipients" or a full mailbox (RFC 5321, section 4.5.3.1.10)
    if 500 <= code < 600:
        return OutcomeKind.failed
    # a number that has no meaning here: after the dot nobody knows what it was meant to say
    return OutcomeKind.unknown if phase == "dot" else OutcomeKind.deferred


def _reason(verdict: Verdict, code: int) -> str:
    if verdict.kind is OutcomeKind.accepted:
        return "Their server has taken the letter."
    if verdict.pause == "auth":
        return "The mail server refuses our sign-in."
    if verdict.pause == "tls":
        return "The mail server refuses to encrypt."
    if verdict.phase in ("greeting", "ehlo"):
        return _BY_CODE[421] if code == 421 else "The mail server turns us away."
    if verdict.kind is OutcomeKind.unknown:
        return "Their server answered the letter with something that makes no sense. It may have been taken."
    words = (verdict.reply or "").lower()
    if verdict.kind is OutcomeKind.deferred and ("greylist" in words or "graylist" in words):
        return "Their server asks us to wait (greylisting)."
    if verdict.phase == "mail" and (of_us := _of_the_sender(verdict, code)):
        return of_us
    if verdict.enhanced and (known := _BY_ENHANCED.get(verdict.enhanced[2:])):
        return _SENDER_REFUSED if verdict.enhanced == NO_SUCH_MAILBOX and _of_a_sender(verdict) else known
    if verdict.phase == "rcpt" and code == 552:
        return "The mailbox is full."
    if verdict.enhanced and verdict.enhanced[2:4] == "7.":
        return (
            "Their server asks us to wait."
            if verdict.kind is OutcomeKind.deferred
            else "Their server's rules forbid this letter."
        )
    if verdict.phase == "rcpt" and (known := _OF_THE_ADDRESS.get(code)):
        return _SENDER_REFUSED if code == 550 and _of_a_sender(verdict) else known
    if known := _BY_CODE.get(code):
        return known
    if verdict.kind is OutcomeKind.failed:
        return "Their server refuses the letter."
    if 400 <= code < 500:
        return "Their server asks us to wait."
    return "Their server answered with something that makes no sense."


def _of_the_sender(verdict: Verdict, code: int) -> str | None:
    """What a reply to MAIL says of our sender: no recipient has been named yet."""
    detail = (verdict.enhanced or "")[2:]
    if known := _OF_THE_SENDER.get(detail):
        return known
    if detail[:2] in ("1.", "2.", "4.") or (not detail and code in _OF_THE_ADDRESS and code >= 500):
        return _SENDER_REFUSED if verdict.kind is OutcomeKind.failed else "Their server asks us to wait."
    return None


def _of_a_sender(verdict: Verdict) -> bool:
    """Servers that judge the sender only at RCPT say so in words (Postfix with smtpd_delay_reject)."""
    return bool(_OF_A_SENDER.search(verdict.reply or ""))


def of_break(phase: str, what: str) -> Verdict:
    """Verdict for a conversation without an answer. what: "timeout", "closed" or "garbage"."""
    if phase == "dot":
        how = {
            "timeout": "Their server did not answer after it had got the letter.",
            "closed": "The connection broke after their server had got the letter.",
            "garbage": "Their server answered the letter with something that makes no sense.",
        }[what]
        return Verdict(OutcomeKind.unknown, phase, f"{how} It may have been taken.")
    how = {
        "timeout": "Their server did not answer in time.",
        "closed": "Their server closed the connection.",
        "garbage": "Their server answered with something that makes no sense.",
    }[what]
    early = phase in ("connect", "greeting", "ehlo")
    pause = phase if phase in ("tls", "auth") and what == "garbage" else None
    closed = what == "closed"
    return Verdict(OutcomeKind.deferred, phase, how, pause=pause, unreachable=early, hung_up=closed)
