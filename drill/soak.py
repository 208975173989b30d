"""The product under load for as long as wanted, with one of the drill's faults after the other.

Watches memory and file descriptors of each process. Only faults that leave the processes alive: a new one would begin
with a clean sheet, and a leak would hide behind it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rig import memory_megabytes
from drill import checker
from drill.checker import Result
from drill.fault import FAULTS, Fault
from drill.house import House
from drill.scene import PARTS, Missed, Scene
from local.errors import LocalError

FAULTS_OF_A_DAY = (
    *("smtp-refused", "smtp-tarpit", "smtp-421", "smtp-450", "smtp-452"),
    *("smtp-silence-after-dot", "smtp-fin-after-dot", "smtp-rst-after-dot", "smtp-garbage", "smtp-long-reply"),
    *("poison-json", "poison-version", "events-thrice", "database-locked", "memory-alarm", "disk-alarm"),
    *("broker-killed", "broker-frozen"),
)
MESSAGES_A_SECOND = 8
CALM_SECONDS = (3.0, 10.0)  # between two faults
CALM_AT_END_SECONDS = 20.0  # a fault needs load to strike
LOOKS = 200  # at each process, over the whole time, but never more than one in two seconds
SHOWN = 20  # rows of the table
MAY_GROW = 1.10  # from the second quarter, when all caches are full, to the last
MAY_GROW_MEGABYTES = 6.0
MAY_GROW_DESCRIPTORS = 8


@dataclass(frozen=True)
class Look:
    minute: float
    pids: dict[str, int]
    megabytes: dict[str, float]
    descriptors: dict[str, int]
    accepted: int


@dataclass(frozen=True)
class Verdict:
    process: str
    flat: bool
    words: str


def soak(house: House, minutes: float, seed: str, say: Callable[[str], None]) -> tuple[Result, list[Look]]:
    fault = Fault("soak", f"{minutes:g} minutes", "soak", lambda _: None, unknowns=10**9, seconds=minutes * 60)
    result = Result(fault)
    looks: list[Look] = []
    with house.stage(fault, seed, int(minutes * 60 * MESSAGES_A_SECOND)) as scene:
        scene.product.start(*PARTS)
        begun = time.monotonic()
        over = threading.Event()
        pause = max(2.0, minutes * 60 / LOOKS)
        watcher = threading.Thread(target=_watch, args=(scene, begun, pause, over, looks), daemon=True)
        watcher.start()
        scene.load.start()
        while time.monotonic() - begun < minutes * 60 - CALM_AT_END_SECONDS:
            _one_fault(scene, result, say, (time.monotonic() - begun) / 60)
            time.sleep(scene.rng.uniform(*CALM_SECONDS))
        if not scene.load.finish(180):
            result.complaints.append("not every request was answered")
        if left := checker.settle(scene, 180):
            result.complaints.append(left)
        over.set()
        watcher.join()
        checker.check(scene, result)
        checker.end(scene, result)
        result.complaints += scene.complaints
    result.complaints += [f"{each.process}: {each.words}" for each in verdicts(looks) if not each.flat]
    return result, looks


def _one_fault(scene: Scene, result: Result, say: Callable[[str], None], minute: float) -> None:
    fault = FAULTS[scene.rng.choice(FAULTS_OF_A_DAY)]
    say(f"{minute:6.1f} min  {fault.title}")
    try:
        fault.strike(scene)
    except Missed as problem:
        # the load may just have ended, or stood still for the fault before: nothing was there to be struck
        say(f"{minute:6.1f} min  {problem}")
    except Exception as problem:
        result.complaints.append(f"{fault.name}: {type(problem).__name__}: {problem}")
    finally:
        scene.undo.close()
        scene.sink.quieten()


def _watch(scene: Scene, begun: float, pause: float, over: threading.Event, looks: list[Look]) -> None:
    while not over.wait(pause):
        try:
            pids = {name: scene.product.pid(name) for name in PARTS}
            pids |= {f"worker {number}": pid for number, pid in enumerate(scene.product.workers(), 1)}
            if scene.broker.node.is_running():
                pids["broker"] = scene.broker.node.pid
            megabytes = {name: memory_megabytes(pid) for name, pid in pids.items()}
            descriptors = {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in pids.items()}
        except (OSError, LocalError, Missed):
            continue  # one has just ended
        minute = (time.monotonic() - begun) / 60
        looks.append(Look(minute, pids, megabytes, descriptors, len(scene.sink.taken)))


# ---- what was seen ---------------------------------------------------------------------------------------------


def verdicts(looks: Sequence[Look]) -> list[Verdict]:
    """Flat: the last quarter has hardly more than the second, in which everything is warm."""
    return [_verdict(name, looks) for name in _names(looks) if name != "broker"]


def _names(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(name for look in looks for name in look.megabytes))


def _verdict(name: str, looks: Sequence[Look]) -> Verdict:
    mine = [look for look in looks if name in look.pids]
    if len({look.pids[name] for look in mine}) != 1:
        return Verdict(name, False, "died; nothing can be said of its memory")
    if len(mine) < 8:
        return Verdict(name, True, "not watched for long enough")
    quarter = len(mine) // 4
    early, late = mine[quarter : 2 * quarter], mine[-quarter:]
    megabytes = [statistics.median(look.megabytes[name] for look in part) for part in (early, late)]
    descriptors = [statistics.median(look.descriptors[name] for look in part) for part in (early, late)]
    flat = (
        megabytes[1] <= megabytes[0] * MAY_GROW + MAY_GROW_MEGABYTES
        and descriptors[1] <= descriptors[0] + MAY_GROW_DESCRIPTORS
    )
    words = f"{megabytes[0]:.0f} → {megabytes[1]:.0f} MB, {descriptors[0]:.0f} → {descriptors[1]:.0f} descriptors"
    return Verdict(name, flat, words)


def markdown(looks: Sequence[Look]) -> str:
    """MB / file descriptors of each process over time, and the verdict."""
    names = _names(looks)
    lines = [f"| minute | mails | {' | '.join(names)} |", f"|---:|---:|{'---:|' * len(names)}"]
    step = max(1, len(looks) // SHOWN)
    for look in looks[::step]:
        cells = [
            f"{look.megabytes[name]:.0f} / {look.descriptors[name]}" if name in look.megabytes else "" for name in names
        ]
        lines.append(f"| {look.minute:.1f} | {look.accepted:,} | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"- {each.process}: {'flat' if each.flat else '**not flat**'}, {each.words}" for each in verdicts(looks)]
    return "\n".join(lines)
