"""What whoever keeps the mail room can do when its route rests, beside the server's own words."""

from email_service.outcome import Verdict
from email_service.settings import Route

_START_AGAIN = "put it into POSTHASTE_SMTP_URL and start the mail room again"
_WHAT_TO_DO = {
    "auth": f"Find out the right user name and password, or how the server wants us to sign in; {_START_AGAIN}. "
    "An account that was locked opens by itself at the next try.",
    "tls": "The host in POSTHASTE_SMTP_URL has to be one that the server's certificate names, the certificate must be "
    "signed by somebody we trust (POSTHASTE_SMTP_CA_FILE, if not by the system's), and tls=starttls or tls=implicit "
    "has to be what the server speaks at that port.",
}
_AWAY = (
    "See whether the server runs, whether host and port in POSTHASTE_SMTP_URL are right, and whether a firewall is "
    "in the way."
)


def advice(route: Route, verdict: Verdict) -> str:
    """Whatever a server repeats of a password is not shown."""
    todo = _WHAT_TO_DO.get(verdict.pause or "", _AWAY)
    words = " ".join(str(word) for word in (verdict.code, verdict.reply) if word)
    if not verdict.reply or (route.password and route.password in verdict.reply):
        return f"{route.server}: {todo}"
    return f"{route.server} said “{words}”. {todo}"
