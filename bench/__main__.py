"""python -m bench [part …] [--quick] [--rounds N]: measures, prints goals beside results, writes docs/benchmarks.md.

Parts: click, mailroom, whole, growth, scale; `report` alone writes the document anew from what is saved.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback

from bench import report
from bench.options import Options
from bench.results import Part
from bench.rig import say


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*report.PARTS, "report", []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="seconds a part, to see that it works; nothing is written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="one of the two; default: both")
    arguments = parser.parse_args()
    databases = (arguments.database,) if arguments.database else Options.databases
    options = Options(quick=arguments.quick, rounds=arguments.rounds, databases=databases)
    done: list[Part] = []
    failed = False
    for name in arguments.parts or report.PARTS:
        if name == "report":
            continue
        say(f"{name} …")
        begun = time.monotonic()
        try:
            part = importlib.import_module(f"bench.{name}").run(options)
        except Exception:
            traceback.print_exc()
            failed = True
            continue
        say(f"{name} took {time.monotonic() - begun:.0f} s")
        done.append(part)
        if not options.quick:
            if arguments.database:
                part.keep_others(arguments.database)
            part.save()
    if not options.quick:
        report.write()
    print(report.summary(done))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
