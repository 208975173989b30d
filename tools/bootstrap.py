"""Makes .venv what requirements/run.txt, dev.txt or bench.txt says, with uv, and gets uv where it is missing.

Standard library only. Nothing here names a package index: uv and pip use what the machine is configured for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local import debian, hints  # noqa: E402
from local.cache import cache_dir, locked  # noqa: E402
from local.errors import LocalError, Unavailable  # noqa: E402

VENV = ROOT / ".venv"
STAMP = VENV / ".posthaste.json"
KINDS = ("run", "dev", "bench")  # each holds everything of those before it
ADVICE = (
    "There is no uv here and no way to get it by itself: install uv, or pip and venv for this Python "
    f"({sys.executable}; on Debian and Ubuntu the packages python3-pip and python3-venv)."
)
_tried: list[tuple[str, str]] = []  # commands that failed on the way to uv, and what they said


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in KINDS:
        sys.exit(f"usage: tools/bootstrap {' | '.join(KINDS)}")
    try:
        with locked(ROOT / ".venv.lock"):
            installed = _installed()
            kind = max(kind, installed.get("kind", kind), key=KINDS.index)  # leave a developer's tools in place
            lock = ROOT / "requirements" / f"{kind}.txt"
            wanted = {"kind": kind, "lock": hashlib.sha256(lock.read_bytes()).hexdigest()}
            if installed != wanted:
                _make(lock)
                STAMP.write_text(json.dumps(wanted) + "\n")
    except LocalError as problem:
        sys.exit(str(problem))
    except OSError as problem:  # a full disk, a folder of somebody else, POSTHASTE_CACHE_DIR that is a file
        how = (
            hints.hint(str(problem))
            or "Look at whose it is, or name another place for what is kept (POSTHASTE_CACHE_DIR)."
        )
        sys.exit(f"{problem.filename}: {problem.strerror}.\n{how}")


def _installed() -> dict[str, str]:
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return found if _works() else {}


def _works() -> bool:
    """Whether the environment's Python still starts; the one it was made from may be gone."""
    python = VENV / "bin" / "python"
    return python.exists() and subprocess.run([python, "-c", ""], check=False).returncode == 0


def _make(lock: Path) -> None:
    print(f"Installing {lock.relative_to(ROOT)} into .venv", flush=True)
    uv = _find_uv()
    if not _works():
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)])
    environment = os.environ | {"VIRTUAL_ENV": str(VENV)}
    _run([*uv, "pip", "sync", "--quiet", "--require-hashes", str(lock)], environment)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        if os.environ.get("POSTHASTE_VERBOSE"):
            print(done.stderr, file=sys.stderr)
        how = hints.hint(done.stderr)
        raise LocalError(
            f"`{_shown(command)}` failed (exit code {done.returncode}):\n{hints.last_words(done.stderr)}"
            + (f"\n{how}" if how else "")
        )


def _shown(command: list[str]) -> str:
    return " ".join(Path(word).name if os.sep in word else word for word in command)


def _find_uv() -> list[str]:
    """The command that is uv: the one in PATH, else one of our own in the cache folder."""
    # A version manager's shim may be there without a program behind it.
    for candidate in (shutil.which("uv"), str(cache_dir() / "uv" / "bin" / "uv")):
        if candidate and _is_uv(candidate):
            return [candidate]
    with locked(cache_dir() / "uv.lock"):
        own = cache_dir() / "uv"
        for way in (_with_venv, _with_pip, _with_debians_pip):
            shutil.rmtree(own, ignore_errors=True)
            if way(own) and _is_uv(str(own / "bin" / "uv")):
                return [str(own / "bin" / "uv")]
        shutil.rmtree(own, ignore_errors=True)
    raise Unavailable(_why_not())


def _why_not() -> str:
    """What was tried, what it said, and which package mends it: that first, as it is what is to be done."""
    found = [how for _, said in _tried if (how := hints.hint(said))]
    tried = "\n".join(f"  `{command}`:\n{hints.last_words(said)}" for command, said in _tried)
    return "\n".join(filter(None, [*dict.fromkeys(found), ADVICE, tried and f"Tried:\n{tried}"]))


def _is_uv(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _quietly(command: list[str], **extra: str) -> bool:
    done = subprocess.run(
        command, env=os.environ | extra, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        _tried.append((_shown(command), f"{done.stdout}\n{done.stderr}"))  # pip says why among its news
        if os.environ.get("POSTHASTE_VERBOSE"):
            print(done.stdout, done.stderr, file=sys.stderr)
    return done.returncode == 0


# pip says with --quiet only that there is no uv, and keeps to itself that it trusted no certificate
def _with_venv(own: Path) -> bool:
    return _quietly([sys.executable, "-m", "venv", str(own)]) and _quietly(
        [str(own / "bin" / "python"), "-m", "pip", "install", "uv"]
    )


def _with_pip(own: Path) -> bool:
    # A target folder needs neither venv nor permission to write into the system's Python.
    return _quietly([sys.executable, "-m", "pip", "install", "--target", str(own), "uv"])


def _with_debians_pip(own: Path) -> bool:
    """A Debian without pip and ensurepip still has pip's wheel in a package of its own."""
    try:
        root = debian.unpacked("python3-pip-whl", own="^python3-pip-whl$")
    except Unavailable as problem:
        if debian.is_debian():
            _tried.append(("apt-get", str(problem)))
        return False
    wheel = next(iter(sorted((root / "usr/share/python-wheels").glob("pip-*.whl"))), None)
    if wheel is None or not _quietly([sys.executable, "-m", "venv", "--without-pip", str(own)]):
        return False
    python = str(own / "bin" / "python")
    return _quietly([python, "-m", "pip", "install", "uv"], PYTHONPATH=str(wheel))


main()
