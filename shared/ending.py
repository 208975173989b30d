"""An end that comes, whatever hangs: a thread that waits for a database which no longer answers cannot be cancelled."""

import logging
import os
import sys
import threading

log = logging.getLogger("ending")


def end_within(seconds: float) -> threading.Timer:
    """From now on the process has so long for its orderly end; then it ends as if it had been killed, which loses
    nothing: what is not committed, acked or answered is not done. The timer can be cancelled."""

    def end() -> None:
        log.critical("something hangs, so this ends at once, after %g s", seconds)
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
