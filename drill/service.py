"""What systemd is to a part of the product: starts it again when it dies, and writes its lives down.

python drill/service.py <file> <command> …; the file gets `started <pid>` and `ended <pid> <exit code>` lines. Only
SIGTERM to this process ends it all; then it ends as the command did. Workers that a killed supervisor leaves behind
live on, as they would under systemd with KillMode=process.
"""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

PAUSE_SECONDS = 0.5


def main(file: str, *command: str) -> int:
    stopping = threading.Event()
    alive: list[subprocess.Popen[bytes]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        for child in alive:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    with Path(file).open("a", buffering=1) as lives:
        while True:
            child = subprocess.Popen(command)
            alive[:] = [child]
            lives.write(f"started {child.pid}\n")
            if stopping.is_set():
                child.terminate()
            code = child.wait()
            lives.write(f"ended {child.pid} {code}\n")
            if stopping.is_set():
                return code
            alive.clear()
            if stopping.wait(PAUSE_SECONDS):
                return 0  # between two lives: nobody was there to be stopped


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
