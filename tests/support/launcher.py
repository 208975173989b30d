"""`python -m local run` as a person starts it, in a data directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import alive, new_mark
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Launcher:
    """One run. Every process that comes of it carries ``mark``.

    ``under`` is a command that runs the command after it, as make does.
    """

    def __init__(self, data_dir: Path, *, under: tuple[str, ...] = (), **settings: str) -> None:
        self.mark = new_mark()
        self.data_dir = data_dir
        self.lines: list[str] = []
        self.port = int(settings.pop("PORT", "0")) or free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
        # Where programs were downloaded to is the machine's business, not this copy's.
        if "POSTHASTE_CACHE_DIR" in os.environ:
            inherited["POSTHASTE_CACHE_DIR"] = os.environ["POSTHASTE_CACHE_DIR"]
        settings |= {"DATA_DIR": str(data_dir), "PORT": str(self.port)}
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "local", "run", "--with-parent"],
            cwd=ROOT,
            env=inherited | self.mark | {f"POSTHASTE_{name}": value for name, value in settings.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until ``text`` is printed; fails with all that was said if the process ends before."""

        def printed() -> bool:
            if text in self.said:
                return True
            if self.process.poll() is not None:
                self._reader.join(10)
                assert text in self.said, f"ended without saying {text!r}:\n{self.said}"
            return False

        wait_until(printed, f"{text!r} to be printed; so far:\n{self.said}", seconds=seconds)

    def wait_until_ready(self) -> None:
        self.wait_for(f"ready: {self.url}")

    def fact(self, name: str) -> tuple[str, str]:
        """The value and the remark in the row of that name."""
        found = re.search(rf"^  {re.escape(name)} {{2,}}(\S+)(?: +(.*))?$", self.said, re.MULTILINE)
        assert found, f"no row {name!r} in:\n{self.said}"
        return found[1], found[2] or ""

    def wait(self, seconds: float = 60.0) -> int:
        """Wait until it has ended and all that it said is read; returns the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def end(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.wait(seconds)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def left(self) -> dict[int, str]:
        """What still runs of it."""
        return alive(self.mark)

    def pids_of(self, *words: str) -> set[int]:
        """The processes whose command lines have all these words, without their leashes."""
        return {
            pid
            for pid, command in self.left().items()
            if all(word in command for word in words) and "leash_wrapper" not in command
        }

    def pid_of(self, *words: str) -> int:
        """The one such process."""
        [pid] = self.pids_of(*words)
        return pid
