"""Asks a database of known vulnerabilities (osv.dev) about every locked package: part of `make check`.

A known vulnerability fails it. No network, or a database that does not answer, does not: it says that nothing was
looked at, so that nobody takes silence for a good answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements/run.txt", "requirements/dev.txt")
SECONDS = 120  # for all packages
NOT_LOOKED_AT = "Dependencies were NOT audited"


def main(*arguments: str) -> int:
    """arguments: more for pip-audit. The exit code for `make`."""
    files = [word for lock in LOCKS for word in ("--requirement", lock)]
    command = [sys.executable, "-m", "pip_audit", *files, "--require-hashes", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"{NOT_LOOKED_AT}: no answer within {SECONDS} s.")
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"{NOT_LOOKED_AT}: {why[:300]}")
        return 0
    return _tell(packages)


def _tell(packages: list[dict[str, Any]]) -> int:
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    bad = [(package, found) for package in packages for found in package.get("vulns", [])]
    for package, found in bad:
        better = ", ".join(found.get("fix_versions", [])) or "no version yet"
        print(f"{package['name']} {package['version']}: {found['id']}, mended in {better}")
    if skipped:
        print(f"{NOT_LOOKED_AT}, of {len(packages)}: {', '.join(skipped)}")
    if not bad:
        print(f"{len(packages) - len(skipped)} locked packages audited, nothing known against them")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
