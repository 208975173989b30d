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

from local import debian  # noqa: E402
from local.cache import cache_dir, locked  # noqa: E402
from local.errors import LocalError, Unavailable  # noqa: E402

VENV = ROOT / ".venv"
STAMP = VENV / ".posthaste.json"
KINDS = ("run", "dev", "bench")  # each holds everything of those before it
ADVICE = (
    "There is no uv here and no way to get it by itself: install uv, or pip and venv for this Python "
    f"({sys.executable}; on Debian and Ubuntu the packages python3-pip and python3-venv)."
)


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
    done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        words = " ".join(Path(word).name if os.sep in word else word for word in command)
        raise LocalError(f"`{words}` failed (exit code {done.returncode}); the reason is above.")


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
    raise Unavailable(ADVICE)


def _is_uv(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _quietly(command: list[str], **extra: str) -> bool:
    done = subprocess.run(
        command, env=os.environ | extra, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and os.environ.get("POSTHASTE_VERBOSE"):
        print(done.stdout, done.stderr, file=sys.stderr)
    return done.returncode == 0


def _with_venv(own: Path) -> bool:
    return _quietly([sys.executable, "-m", "venv", str(own)]) and _quietly(
        [str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"]
    )


def _with_pip(own: Path) -> bool:
    # A target folder needs neither venv nor permission to write into the system's Python.
    return _quietly([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(own), "uv"])


def _with_debians_pip(own: Path) -> bool:
    """A Debian without pip and ensurepip still has pip's wheel in a package of its own."""
    try:
        root = debian.unpacked("python3-pip-whl", own="^python3-pip-whl$")
    except Unavailable:
        return False
    wheel = next(iter(sorted((root / "usr/share/python-wheels").glob("pip-*.whl"))), None)
    if wheel is None or not _quietly([sys.executable, "-m", "venv", "--without-pip", str(own)]):
        return False
    python = str(own / "bin" / "python")
    return _quietly([python, "-m", "pip", "install", "--quiet", "uv"], PYTHONPATH=str(wheel))


main()
