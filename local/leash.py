"""Keeps child processes on a leash: when the parent dies, even by ``kill -9``, all of them die.

``start()`` puts a small wrapper between the parent and the command::

    parent ──socket── leash ── command ── its children, and theirs

The wrapper lives in a session of its own, so a Ctrl-C in the terminal reaches only the parent, which can
then stop its parts in the right order. The kernel closes the parent's end of the socket when the parent
dies; the wrapper reads end-of-file and kills every descendant. On Linux it is also a "subreaper": a
descendant that daemonises or opens its own session (epmd, erl_child_setup) still belongs to it. Elsewhere
the process group and the table of ``ps`` have to do.

SIGTERM, SIGINT, SIGHUP and SIGQUIT sent to the wrapper go to the command. When the command ends, what it
left behind is killed, and the wrapper ends as the command did.

The wrapper is ``leash_wrapper.py``; ``python -m local.leash -- COMMAND …`` does the same by hand.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from local import leash_wrapper

_WRAPPER = str(Path(leash_wrapper.__file__).absolute())


class Leashed:
    """A running command. ``pid`` is the command's own; everything below it dies with the parent."""

    def __init__(self, wrapper: subprocess.Popen[bytes], line: socket.socket, command: Sequence[str]) -> None:
        self._wrapper = wrapper
        self._line = line
        self.args = list(command)
        self.pid = self._read_pid()

    def _read_pid(self) -> int:
        told = b""
        while not told.endswith(b"\n"):
            some = self._line.recv(64)
            if not some:
                code = self.wait()
                raise OSError(f"{_WRAPPER} ended with exit code {code} before it started {self.args[0]}")
            told += some
        word, _, rest = told.decode().strip().partition(" ")
        if word == "pid":
            return int(rest)
        self.wait()
        raise FileNotFoundError(f"{self.args[0]} could not be started: {rest}")

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._wrapper.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._wrapper.stderr

    @property
    def returncode(self) -> int | None:
        return self._wrapper.returncode

    def poll(self) -> int | None:
        code = self._wrapper.poll()
        if code is not None:
            self._line.close()
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the command; raises ``subprocess.TimeoutExpired``."""
        code = self._wrapper.wait(timeout)
        self._line.close()
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, not to what it started."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the command and all its descendants, at once."""
        with contextlib.suppress(OSError):
            self._line.sendall(b"kill\n")

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then ``kill()`` after ``timeout`` seconds. Returns the exit code."""
        self.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()

    def __enter__(self) -> Leashed:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def start(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdout: Any = None,
    stderr: Any = None,
    grace: float = 0.0,
    user: str | None = None,
) -> Leashed:
    """Start ``command`` on a leash.

    When the parent dies the command gets SIGTERM and ``grace`` seconds before everything is killed; with 0
    it is killed at once. ``user`` drops to that user first (only root can). Raises ``OSError`` when the
    command cannot be started.
    """
    words = [os.fspath(word) for word in command]
    ours, theirs = socket.socketpair()
    options = ["--line", str(theirs.fileno()), "--grace", str(grace)]
    if user is not None:
        options += ["--user", user]
    try:
        wrapper = subprocess.Popen(
            [sys.executable, "-I", "-S", _WRAPPER, *options, "--", *words],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Leashed(wrapper, ours, words)


if __name__ == "__main__":
    leash_wrapper.main(sys.argv[1:])
