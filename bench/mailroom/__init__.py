"""The mail room: messages wait in the broker, and the clock runs until the SMTP server has them all.

Posthaste against what people would pick instead, each as its documentation recommends for production and once
more tuned, over the same broker into the same SMTP server.
"""

from __future__ import annotations

from bench.options import Options
from bench.results import Part


def run(options: Options) -> Part:
    from bench.mailroom import contest  # the peers' workers live in this package and do not need it

    return contest.run(options)
