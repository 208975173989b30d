"""What whoever keeps the mail room can do when its route rests, beside the server's own words."""

from email_service.outcome import Verdict
from email_service.refusals import Judged
from email_service.settings import Route

_URL = "POSTHASTE_SMTP_URL"
_WHAT_TO_DO = {
    "auth": f"Find out the right user name and password, and how the server wants us to sign in; put it into {_URL} "
    "and start the mail room again. An account that was only locked opens by itself at a later try.",
    "tls": f"The host in {_URL} has to be one that the server's certificate names, the certificate must be "
    "signed by somebody we trust (POSTHASTE_SMTP_CA_FILE, if not by the system's), and tls=starttls or tls=implicit "
    "has to be what the server speaks at that port.",
    "helo": "Put a full host name, one that is known to the DNS and best leads back to this machine, into "
    "POSTHASTE_HELO_NAME, and start the mail room again.",
    "relay": f"Does the server want us to sign in (user and password in {_URL}), or must it be told that this machine "
    "may send through it? Is it the right server, and the port for sending (587 or 465)?",
    "sender": "The server has to be told that we may send with this address, or another one has to stand in "
    "POSTHASTE_SENDER_ADDRESS.",
    "client": "The server, or a blocklist that it asks, has something against this machine's address. Ask whoever runs "
    "it; a blocklist says on its page how to be taken off.",
    "quota": "Wait, or have the limit raised. It is tried again by itself, seldom, as each try may count.",
    "crowded": "Somebody at our address has all the connections that the server allows: WORKERS times CONNECTIONS "
    "of all mail rooms together should not be more than that, or have the limit raised.",
    "same words": "Ask whoever runs the mail server what these words mean. One message at a time is tried by itself.",
}
_AWAY = f"See whether the server runs, whether host and port in {_URL} are right, and whether a firewall is in the way."


def advice(route: Route, judged: Judged) -> str:
    verdict = judged.verdict
    told = [_said(route, verdict), _WHAT_TO_DO.get(verdict.pause or judged.about or "", _AWAY)]
    if judged.given_up:
        names = ", ".join(judged.given_up)
        told.append(f"Before it was noticed, these were given up: {names}. Send them again when it is mended.")
    return " ".join(told)


def _said(route: Route, verdict: Verdict) -> str:
    """Whatever a server repeats of a password is not shown."""
    if not verdict.reply or (route.password and route.password in verdict.reply):
        return f"{route.server}:"
    return f"{route.server} said “{verdict.code} {verdict.reply}”."
