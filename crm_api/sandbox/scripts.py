"""What the local part of an address makes the sandbox do, for trying failures out.

A person's own words may follow after the script: smtp-550-anna@example.com is smtp-550.
"""

import re
from dataclasses import dataclass

# address, what happens: for the inbox page and the documents
EXAMPLES = (
    ("smtp-550@example.com", "is refused for good"),
    ("smtp-550-5-1-1@example.com", "is refused because there is no such mailbox; nothing more is sent to it"),
    ("smtp-450@example.com", "is asked to wait, every time"),
    ("smtp-421@example.com", "is asked to wait, and the server hangs up"),
    ("flaky-2@example.com", "is asked to wait twice, then taken"),
    ("slow-10@example.com", "is taken after 10 seconds"),
    ("slow-dot-10@example.com", "is taken at once, and the server says so only 10 seconds later"),
    ("drop@example.com", "the server hangs up after the letter without a word, and has not taken it"),
    ("drop-kept@example.com", "the server hangs up after the letter without a word, but has taken it"),
)

# 5.1.1 would say that the address itself is no good; plain smtp-550 only refuses this letter
_REPLIES = {
    421: ("4.3.2", "This sandbox address always hangs up"),
    450: ("4.2.1", "This sandbox address always asks to wait"),
    451: ("4.3.0", "This sandbox address always has a local error"),
    452: ("4.2.2", "This sandbox address is always over its quota"),
    550: ("5.7.1", "This sandbox address refuses every letter"),
    551: ("5.1.6", "This sandbox address has moved"),
    552: ("5.2.2", "This sandbox address is always over its quota"),
    553: ("5.1.3", "This sandbox address is never allowed"),
    554: ("5.7.1", "This sandbox address refuses every letter"),
}
_MAX_SECONDS = 3600
_SMTP = re.compile(r"smtp-([45]\d\d)(?:-([245])-(\d{1,3})-(\d{1,3}))?(?!\d)")
_SLOW = re.compile(r"slow-(dot-)?(\d{1,4})(?!\d)")
_FLAKY = re.compile(r"flaky-(\d{1,3})(?!\d)")


@dataclass(frozen=True)
class Script:
    """refuse: the reply to RCPT. wait, wait_after: seconds before the reply to RCPT, and after the mail is stored.
    defer: how many times the mail is deferred. hang_up: no reply after the final dot; keep: but it is stored."""

    refuse: str | None = None
    wait: int = 0
    wait_after: int = 0
    defer: int = 0
    hang_up: bool = False
    keep: bool = True


NONE = Script()


def script_of(address: str) -> Script:
    local = address.rpartition("@")[0].lower()
    if found := _SMTP.match(local):
        code = int(found[1])
        enhanced, words = _REPLIES.get(code, (f"{found[1][0]}.0.0", f"This sandbox address always answers {code}"))
        if found[2]:
            enhanced = f"{found[2]}.{found[3]}.{found[4]}"
        return Script(refuse=f"{code} {enhanced} {words}")
    if found := _SLOW.match(local):
        seconds = min(int(found[2]), _MAX_SECONDS)
        return Script(wait_after=seconds) if found[1] else Script(wait=seconds)
    if found := _FLAKY.match(local):
        return Script(defer=int(found[1]))
    if local.startswith("drop"):
        return Script(hang_up=True, keep=local.startswith("drop-kept"))
    return NONE
