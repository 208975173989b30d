"""What is on the leash ends with its owner, however the owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local import leash
from tests.support.processes import alive, can_see_marks, new_mark
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
needs_marks = pytest.mark.skipif(not can_see_marks, reason="finds processes through /proc, which is Linux only")

# A child, a grandchild, and one that left for a session of its own and lost its parent, as daemons do.
FAMILY = "sleep 600 & (setsid sleep 601 &) ; echo up; wait"
OWNER = """
import sys
from local import leash
child = leash.start(["sh", "-c", sys.argv[1]], grace=float(sys.argv[2]))
child.wait()
"""


def own(command: str, mark: dict[str, str], grace: float = 0.0) -> subprocess.Popen[bytes]:
    """Start a process that keeps ``command`` on a leash."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, command, str(grace)],
        cwd=ROOT,
        env=os.environ | mark,
        stdout=subprocess.PIPE,
    )


@needs_marks
def test_kill_9_of_the_owner_leaves_nothing() -> None:
    mark = new_mark()
    with own(FAMILY, mark) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        wait_until(lambda: len(alive(mark)) >= 5, "owner, leash, shell and two sleeps")
        owner.kill()
    wait_until(lambda: not alive(mark), f"everything gone, but there is {alive(mark)}", seconds=10)


@needs_marks
def test_kill_9_of_the_whole_group_leaves_nothing() -> None:
    mark = new_mark()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, FAMILY, "0"],
        cwd=ROOT,
        env=os.environ | mark,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        os.killpg(owner.pid, signal.SIGKILL)
    wait_until(lambda: not alive(mark), "everything gone", seconds=10)


def test_grace_lets_the_command_finish(tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = f"trap 'echo finished > {done}; exit' TERM; echo up; while :; do sleep 0.05; done"
    with own(command, new_mark(), grace=20.0) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.kill()
    assert wait_until(done.exists, "the command to finish")


@needs_marks
def test_what_the_command_leaves_behind_is_killed() -> None:
    mark = new_mark()
    child = leash.start(["sh", "-c", "(setsid sleep 602 &) ; exit 7"], env=os.environ | mark)
    assert child.wait() == 7
    assert alive(mark) == {}


def test_stop_asks_first(tmp_path: Path) -> None:
    command = ["sh", "-c", "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.05; done"]
    with leash.start(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.stop() == 3
        assert child.stdout.read() == b"asked\n"


@needs_marks
def test_stop_does_not_ask_for_ever() -> None:
    mark = new_mark()
    command = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]
    with leash.start(command, env=os.environ | mark, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.stop(timeout=0.2) == -signal.SIGKILL
    assert alive(mark) == {}


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        leash.start(["no-such-program"])


def test_signals_reach_the_command() -> None:
    with leash.start(["sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait() == -signal.SIGINT
