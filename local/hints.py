"""What a program that failed has said at last, and what would mend it, as far as that can be told from its words."""

from __future__ import annotations

import re

LINES = 4  # of a program's last words
_CHARACTERS = 300  # of one of them

# words of pip, uv, venv, apt and git → what mends it; the packages have these names on Debian and Ubuntu
_HINTS = (
    (
        r"certificate.?verif|UnknownIssuer|unable to get local issuer|invalid peer certificate|confirming the ssl"
        r"|No system certificates|CA bundle|ca-certificates|self.signed certificate",
        "This machine trusts no certificate authority: install the package ca-certificates "
        "(behind a proxy that has its own, name it in SSL_CERT_FILE).",
    ),
    (r"ensurepip|python3[.\d]*-venv|No module named '?venv", "Install the package python3-venv."),
    (r"No module named '?pip|pip: (command )?not found", "Install the packages python3-pip and python3-venv."),
    (r"externally.managed.environment", "Install the package python3-venv."),
    (r"Python\.h|(gcc|cc|c\+\+|rustc)\b.*(not found|failed|No such file)", "Install build-essential and python3-dev."),
    (r"\bgit\b.*(not found|No such file|executable)", "Install the package git."),
    (r"\bcurl\b.*(not found|No such file)", "Install the package curl."),
    (r"\bmake\b.*(not found|No such file)", "Install the package make."),
    (r"\bxz(-utils)?\b.*(not found|No such file|Cannot exec)", "Install the package xz-utils."),
    (r"No space left|Disk quota exceeded", "The disk is full: make room, or name another place (POSTHASTE_CACHE_DIR)."),
    (r"Read-only file system", "That place cannot be written to: name another one (POSTHASTE_CACHE_DIR)."),
    (r"Permission denied|Operation not permitted", "This user may not write there: look at whose it is."),
    (
        r"name resolution|Could not resolve|dns error|Name or service not known|nodename nor servname",
        "Names are not resolved here: check the network and /etc/resolv.conf.",
    ),
    (
        r"407|ProxyError|proxy",
        "A proxy stands between: set HTTPS_PROXY, with a name and password if it asks for them.",
    ),
    (
        r"Network is unreachable|No route to host|Connection refused|timed? ?out|Connection reset|ConnectError",
        "The package index is not reached: check the network, HTTPS_PROXY, and what pip and uv are configured for.",
    ),
    (
        r"401|403|Unauthorized|Forbidden",
        "The package index lets nobody in: check what pip and uv are configured for (PIP_INDEX_URL, UV_INDEX_URL).",
    ),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES|[Hh]ash mismatch", "What was downloaded is not what was asked for."),
    (
        r"No matching distribution|No solution found|no versions of",
        "The package index has not what is asked for: check what pip and uv are configured for.",
    ),
)


def last_words(text: str) -> str:
    """Its last lines that say something, and before them the one that tells most, if it is none of them."""
    lines = [line.rstrip()[:_CHARACTERS] for line in text.splitlines() if line.strip()]
    shown = lines[-LINES:]
    words = next((words for words, _ in _HINTS if re.search(words, text, re.IGNORECASE)), None)
    telling = [line for line in lines if words and re.search(words, line, re.IGNORECASE)]
    if telling and not set(telling) & set(shown):
        shown = [telling[-1], *shown]
    return "\n".join(f"    {line}" for line in shown) or "    (it gave no reason)"


def hint(text: str) -> str:
    """What mends it; empty if nobody knows."""
    return next((sentence for words, sentence in _HINTS if re.search(words, text, re.IGNORECASE)), "")
