"""The process between a parent and the command it keeps on a leash; see ``leash.py``.

It is started by path with ``python -I -S`` (20 ms instead of 100), so it imports little of the standard
library and nothing of this project.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time

LINUX = sys.platform.startswith("linux")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def end_with_parent(number: int) -> None:
    """Have the kernel send this process ``number`` when its parent dies (Linux; nothing elsewhere)."""
    _prctl(PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _parents() -> dict[int, int]:
    """pid → parent pid of every process on the machine."""
    found: dict[int, int] = {}
    if LINUX:
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                    # The command's name is in parentheses and may contain anything, even parentheses.
                    fields = stat.read().rpartition(b")")[2].split()
                    if fields[0] != b"Z":
                        found[int(name)] = int(fields[1])
        return found
    import subprocess  # slow to import

    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)
    for line in listing.stdout.splitlines():
        pid, parent = line.split()
        found[int(pid)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    """All living children of ``pid``, their children, and so on."""
    parents = _parents()
    family = {pid}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return family - {pid}


def _kill_all(pid: int) -> int | None:
    """Kill the command, its process group and every descendant, and collect them.

    Returns the wait status of ``pid`` if it had not been collected before.
    """
    deadline = time.monotonic() + 5.0
    status = None
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        for each in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        # The children of what was just killed become ours, so another round may find more.
        children_left = True
        try:
            while True:
                dead, its_status = os.waitpid(-1, os.WNOHANG)
                if dead == 0:
                    break
                if dead == pid:
                    status = its_status
        except ChildProcessError:
            children_left = False
        if not children_left or time.monotonic() > deadline:
            return status
        time.sleep(0.005)


def _reap(pid: int) -> int | None:
    """Collect dead children; returns the wait status of ``pid`` if it was among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            dead, status = os.waitpid(-1, os.WNOHANG)
            if dead == 0:
                break
            if dead == pid:
                found = status
    return found


def _become(user: str) -> dict[str, str]:
    import pwd  # not on every system

    entry = pwd.getpwnam(user)
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user}


def _spawn(command: list[str], user: str | None, line: socket.socket) -> int:
    """Fork and exec; tells the parent the pid, or why it could not be done."""
    failed_read, failed_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(failed_read)
            os.setsid()
            for number in (*FORWARDED, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            if user is not None:
                os.environ.update(_become(user))
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
            os.execvp(command[0], command)
        except BaseException as error:
            os.write(failed_write, str(error).encode(errors="replace")[:500])
        finally:
            os._exit(127)
    os.close(failed_write)
    with open(failed_read, "rb") as failure:  # closed by exec when all is well
        reason = failure.read().replace(b"\n", b" ")
    # A parent that is already gone is found out by the first read of the loop.
    with contextlib.suppress(OSError):
        line.sendall(b"failed " + reason + b"\n" if reason else b"pid %d\n" % pid)
    if reason:
        os._exit(127)
    return pid


def _wrap(command: list[str], line_fd: int | None, grace: float, user: str | None) -> int:
    if line_fd is None:  # by hand on a terminal: live as long as the process that started us
        line, other = socket.socketpair()
        end_with_parent(signal.SIGTERM)
    else:
        line, other = socket.socket(fileno=line_fd), None
    line.set_inheritable(False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake_write)

    pid = _spawn(command, user, line)
    kill_at: float | None = None
    watched: list[socket.socket | int] = [line, wake_read]
    while True:
        left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select(watched, [], [], left)
        if wake_read in ready:
            for caught in os.read(wake_read, 512):
                if caught in FORWARDED:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, caught)
        if line in ready:
            try:
                said = line.recv(64)
            except OSError:
                said = b""
            if not said:
                watched.remove(line)
                kill_at = time.monotonic() + grace
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if grace > 0 else signal.SIGKILL)
            elif b"kill" in said:
                kill_at = time.monotonic()
        status = _reap(pid)
        if status is not None:
            _kill_all(pid)
        elif kill_at is not None and time.monotonic() >= kill_at:
            status = _kill_all(pid)
        if status is not None:
            if other is not None:
                other.close()
            return status


def main(arguments: list[str]) -> None:
    line: int | None = None
    grace, user = 0.0, None
    while arguments and arguments[0] != "--":
        option, value, *arguments = arguments
        if option == "--line":
            line = int(value)
        elif option == "--grace":
            grace = float(value)
        elif option == "--user":
            user = value
        else:
            sys.exit(f"leash: unknown option {option}")
    if not arguments[1:]:
        sys.exit("usage: python -m local.leash [--grace SECONDS] [--user NAME] -- COMMAND …")
    status = _wrap(arguments[1:], line, grace, user)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
