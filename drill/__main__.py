"""python -m drill [--faults a,b] [--messages N] [--seed S] [--database sqlite|postgresql]: breaks it, and checks.

`python -m drill soak --minutes N` runs under load with random faults and watches memory and file descriptors.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from drill import faults as _all_faults
from drill import soak, table
from drill.checker import Result
from drill.fault import FAULTS, Fault
from drill.house import House

assert _all_faults


DOCUMENTED_MINUTES = 30


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("faults", "soak"), default="faults")
    parser.add_argument("--faults", help="names or subjects, separated by commas; default: all; see --list")
    parser.add_argument("--list", action="store_true", help="name all faults")
    parser.add_argument("--messages", type=int, default=150, help="requests of each fault's load; default: 150")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak; default: 30")
    parser.add_argument("--seed", default="", help="repeats a run; default: a new one, which is printed")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--folder", type=Path, help="where logs and databases stay; default: removed if all went well")
    arguments = parser.parse_args()
    os.umask(0o077)  # as `make run` has it: mails and databases lie in its folder
    if arguments.list:
        for each in FAULTS.values():
            print(f"{each.name:26} {each.group:10} {each.title}")
        return 0
    arguments.seed = arguments.seed or secrets.token_hex(3)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="posthaste-drill-"))
    folder.mkdir(parents=True, exist_ok=True)
    with House(folder, arguments.database, say) as house:
        good = _soak(house, arguments) if arguments.what == "soak" else _faults(house, arguments)
    if not good:
        say(f"Logs are in {folder / 'faults'}.")
    elif not arguments.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not good)


def _faults(house: House, arguments: argparse.Namespace) -> bool:
    seed, messages = arguments.seed, arguments.messages
    command = f"python -m drill --database {arguments.database} --seed {seed} --messages {messages}"
    say(command)
    print(table.heading(), flush=True)
    results = []
    for each in wanted(arguments.faults):
        if arguments.database not in each.databases:
            continue
        result = house.run(each, seed, messages)
        results.append(result)
        print(table.row(result), flush=True)
        _complain(result)
    good = all(result.good for result in results)
    if good and not arguments.faults:
        table.write(arguments.database, command, table.markdown(results))
    say(f"{sum(result.good for result in results)} of {len(results)} faults did no harm.")
    return good


def _soak(house: House, arguments: argparse.Namespace) -> bool:
    seed, minutes = arguments.seed, arguments.minutes
    command = f"python -m drill soak --database {arguments.database} --seed {seed} --minutes {minutes:g}"
    say(command)
    result, looks = soak.soak(house, minutes, seed, say)
    seen = f"{soak.markdown(looks)}\n\n{table.markdown([result])}"
    print(seen)
    _complain(result)
    if result.good and minutes >= DOCUMENTED_MINUTES:
        table.write("soak", command, seen)
    return result.good


def _complain(result: Result) -> None:
    for complaint in result.complaints:
        say(f"    {result.fault.name}: {complaint}")


def wanted(words: str | None) -> list[Fault]:
    """The faults of these names or subjects; those on one broker first. Raises SystemExit for an unknown one."""
    if not words:
        found = list(FAULTS.values())
    else:
        asked = words.split(",")
        found = [each for each in FAULTS.values() if each.name in asked or each.group in asked]
        if unknown := set(asked) - {each.name for each in found} - {each.group for each in found}:
            raise SystemExit(f"There is no fault {', '.join(sorted(unknown))}. See python -m drill --list.")
    return sorted(found, key=lambda each: each.nodes)


if __name__ == "__main__":
    sys.exit(main())
