"""Why somebody did not come in through the OpenID provider, in words for the page."""

from typing import Literal

Why = Literal["away", "refused", "cancelled", "expired", "unverified", "unknown", "disabled", "taken"]

# → status, sentence; {label} is what people call the provider
SENTENCES: dict[Why, tuple[int, str]] = {
    "away": (503, "{label} does not answer now. Try again in a moment."),
    "refused": (
        401,
        "{label} and Posthaste did not understand each other. Start again; an admin can see why in the log.",
    ),
    "cancelled": (401, "{label} did not let you through."),
    "expired": (401, "That took too long, was used already, or began in another browser. Start again."),
    "unverified": (403, "{label} has not verified your address. Once it has, you can come in."),
    "unknown": (403, "There is no account for you here. An admin can invite you."),
    "disabled": (403, "Your account is disabled. An admin can let you in again."),
    "taken": (403, "Your address belongs to an account that signs in as somebody else there. An admin can help."),
}


class NoEntry(Exception):
    """why: for the page. detail: for the log; never a code, a token or a secret."""

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}" if detail else why)
        self.why: Why = why

    @property
    def status(self) -> int:
        return SENTENCES[self.why][0]

    def sentence(self, label: str) -> str:
        return SENTENCES[self.why][1].format(label=label[:1].upper() + label[1:])
