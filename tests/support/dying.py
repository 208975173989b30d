"""A process of the product with a part in it that dies."""

from __future__ import annotations

import os
import subprocess
import sys

from local.product import ROOT

# the part is replaced by one that dies a moment after its process has begun
PROGRAM = """
import asyncio, importlib, sys, time
where, command = sys.argv[1:3]
sys.argv[1:] = command.split()
parts = where.split(".")
for cut in range(len(parts) - 1, 0, -1):
    try:
        owner = importlib.import_module(".".join(parts[:cut]))
        break
    except ModuleNotFoundError:
        continue
for name in parts[cut:-1]:
    owner = getattr(owner, name)
if asyncio.iscoroutinefunction(getattr(owner, parts[-1])):
    async def dies(*_, **__):
        await asyncio.sleep(0.3)
        raise KeyError("a defect")
else:
    def dies(*_, **__):
        time.sleep(0.3)
        raise KeyError("a defect")
setattr(owner, parts[-1], dies)
import runpy
runpy.run_module(PACKAGE, run_name="__main__")
"""


def dying(part: str, package: str, command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("PACKAGE", repr(package)), part, command],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")} | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
