"""Nothing that a process lives by ends unseen."""

from __future__ import annotations

import ast
import asyncio
import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.tasks import WatchedThread, deaths, run_forever, run_once

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("crm_api", "email_service", "shared")
# what makes a task or thread that nobody watches
BARE = {"create_task", "ensure_future", "Thread", "Timer", "start_new_thread", "TaskGroup", "run_coroutine_threadsafe"}
# the second ends a process that hangs; the third is waited for where it is begun
EXCEPT = {"shared/tasks.py", "shared/ending.py", "email_service/helo.py"}


async def fails() -> None:
    await asyncio.sleep(0)
    raise KeyError("lane")


async def ends() -> None:
    await asyncio.sleep(0)


async def test_who_lives_by_it_hears_of_its_death(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    deaths().on_first(heard.append)
    run_forever(fails(), "filing")
    async with asyncio.timeout(10):
        assert await deaths().wait() == "filing"
    assert heard == ["filing"]
    assert "filing ended by itself" in caplog.text
    assert "KeyError" in caplog.text, "with its traceback"


async def test_to_return_is_a_death_too() -> None:
    task = run_forever(ends(), "relay")
    await task
    await asyncio.sleep(0)
    assert deaths().names == ["relay"]


async def test_to_be_told_to_end_is_none() -> None:
    task = run_forever(asyncio.sleep(3600), "sweep")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert deaths().names == []


@pytest.mark.parametrize(("vital", "dead"), [(True, ["probe"]), (False, [])])
async def test_what_ends_by_itself_may_be_vital(vital: bool, dead: list[str]) -> None:
    with pytest.raises(KeyError):
        await run_once(fails(), "probe", vital=vital)
    await run_once(ends(), "another", vital=vital)
    await asyncio.sleep(0)
    assert deaths().names == dead


async def test_a_task_that_nobody_keeps_goes_on() -> None:
    done = asyncio.Event()

    async def works() -> None:
        await asyncio.sleep(0.01)
        done.set()

    run_once(works(), "announcement")
    gc.collect()
    async with asyncio.timeout(10):
        await done.wait()


@pytest.mark.parametrize("problem", [KeyError("lane"), SystemExit(3)])
async def test_a_threads_death_is_one(problem: BaseException) -> None:
    def work() -> None:
        raise problem

    thread = WatchedThread(work, "intake", asyncio.get_running_loop())
    thread.start()
    async with asyncio.timeout(10):
        assert await deaths().wait() == "intake"
    thread.join()


def _calls(tree: ast.AST, is_bare: Callable[[str], bool]) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if is_bare(name):
                found.append(f"line {node.lineno}: {name}")
    return found


def test_nobody_makes_a_task_that_nobody_watches() -> None:
    found = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name not in EXCEPT and (calls := _calls(ast.parse(path.read_text()), BARE.__contains__)):
            found[name] = calls
    assert found == {}
    assert _calls(ast.parse((ROOT / "shared/tasks.py").read_text()), BARE.__contains__), "the search finds them"
