"""The commands a newcomer types: make help, tools/bootstrap, python -m local."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    everything = os.environ | environment | ({} if path is None else {"PATH": path})
    return subprocess.run(command, cwd=ROOT, env=everything, capture_output=True, text=True, check=False)


def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    listed = re.findall(r"^  ([a-z-]+) +\S", run("make", "help").stdout, re.MULTILINE)
    assert listed == targets
    assert run("make").stdout == run("make", "help").stdout


def test_ci_checks_and_then_tests() -> None:
    steps = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    assert steps == ["make check", "make test"]


def test_bootstrap_without_a_python_says_what_it_needs(tmp_path: Path) -> None:
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = run(ROOT / "tools" / "bootstrap", "run", path=str(tmp_path), PYTHON="")
    assert done.returncode == 1
    assert done.stderr.startswith("Posthaste needs Python 3.11 or newer (there is no python3 here)")
    assert len(done.stderr.splitlines()) == 1


def test_bootstrap_leaves_an_environment_that_is_right_alone(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for part in ("tools", "local", "requirements"):
        shutil.copytree(ROOT / part, checkout / part)
    (checkout / "requirements" / "run.txt").write_text("")  # nothing to install is enough to see what it does

    def bootstrap() -> subprocess.CompletedProcess[str]:
        return run(checkout / "tools" / "bootstrap", "run", PYTHON=sys.executable)

    first = bootstrap()
    assert first.returncode == 0, first.stderr
    assert first.stdout == "Installing requirements/run.txt into .venv\n"
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert bootstrap().stdout == ""
    (checkout / "requirements" / "run.txt").write_text("# changed\n")
    assert bootstrap().stdout == "Installing requirements/run.txt into .venv\n"


def test_local_says_how_it_is_used() -> None:
    done = run(sys.executable, "-m", "local", "walk")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m local run")
