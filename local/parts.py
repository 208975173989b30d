"""One part of Posthaste as a child process: its log, its restarts, its end."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from local import leash
from local.errors import LocalError

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
HOPELESS_DEATHS = 5
HOPELESS_SECONDS = 30.0
LOG_BYTES = 10_000_000
WRONG_SETTINGS = 2  # a part's exit code for a setting that is wrong: it stays wrong; shared/command.py

_LEVEL = re.compile(r'^\S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|"level": ?"(\w+)"')
_WORTH_SHOWING = {"WARNING", "ERROR", "CRITICAL"}


@dataclass
class Part:
    """A child process that is started again when it dies.

    ``log`` gets every line; ``show`` the lines from warnings upwards. ``stop_seconds`` is how long it may
    take to drain, ``grace`` what is left of that when the launcher itself is killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    show: Callable[[str, str], None]
    is_ready: Callable[[], bool]
    stop_seconds: float = 10.0
    grace: float = 1.0
    _process: leash.Leashed | None = None
    _pump: threading.Thread | None = None
    _deaths: deque[float] = field(default_factory=lambda: deque(maxlen=HOPELESS_DEATHS))
    _started_at: float = 0.0
    _again_at: float | None = None
    _tries: int = 0
    _last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=15))

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".1.log"))
        self.log.touch(mode=0o600)
        self._again_at = None
        self._started_at = time.monotonic()
        self._process = leash.start(
            self.command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            grace=self.grace,
        )
        assert self._process.stdout is not None
        self._pump = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"log of {self.name}", daemon=True
        )
        self._pump.start()

    def look_after(self) -> None:
        """Start it again if it died and its time has come; raises ``LocalError`` when that is hopeless."""
        now = time.monotonic()
        if self._again_at is not None:
            if now >= self._again_at:
                self.start()
            return
        if self._process is None or self._process.poll() is None:
            return
        code = self._process.returncode
        self._join()
        if code == WRONG_SETTINGS:
            raise LocalError(f"{self.name} cannot start:\n" + "\n".join(self._last_lines))
        self._deaths.append(now)
        if len(self._deaths) == HOPELESS_DEATHS and now - self._deaths[0] < HOPELESS_SECONDS:
            raise LocalError(
                f"{self.name} ended {HOPELESS_DEATHS} times in a row (exit code {code}). "
                f"The end of {self.log}:\n" + "\n".join(self._last_lines)
            )
        # Half a minute of life earns a fresh start.
        self._tries = 0 if now - self._started_at > HOPELESS_SECONDS else self._tries
        wait = BACKOFF_SECONDS[min(self._tries, len(BACKOFF_SECONDS) - 1)]
        self._tries += 1
        self._again_at = now + wait
        self.show(self.name, f"ended (exit code {code}), starting again in {wait:g} s")

    def ask_to_stop(self) -> None:
        self._again_at = None
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Let it drain, for ``stop_seconds`` at most."""
        self._again_at = None
        if self._process is not None:
            self._process.stop(self.stop_seconds)
            self._join()

    def kill(self) -> None:
        self._again_at = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._join()

    def _join(self) -> None:
        if self._pump is not None:
            self._pump.join(timeout=2.0)  # a stray grandchild could hold the pipe; it is being killed
            self._pump = None

    def _read(self, lines: IO[bytes]) -> None:
        """Carry the child's lines to the log and the loud ones to the terminal, in a thread."""
        loud = False
        with lines, self.log.open("a", encoding="utf-8", errors="replace") as log:
            for raw in lines:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                log.write(f"{line}\n")
                log.flush()
                self._last_lines.append(line)
                level = _LEVEL.search(line)
                if level is not None:
                    loud = (level[1] or level[2]).upper() in _WORTH_SHOWING
                if loud:  # lines without a level belong to the one before, as in a traceback
                    self.show(self.name, line)


def python(*words: str) -> list[str]:
    """A command for the Python that runs us."""
    return [sys.executable, "-m", *words]
