"""Work in other processes: results, processes that die, interruptions, and continued work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bincodec.eval import resume, workers
from bincodec.eval.cache import Cache
from bincodec.eval.resume import Interrupted, Piece
from bincodec.eval.workers import Broken

# Other processes import their functions by name.
MODULE = """
import os, signal, sys, threading, time

def act(task):
    match task:
        case "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "raise":
            raise ValueError("no\\nway")
        case "unpicklable":
            return threading.Lock()
        case "threads":
            import torch
            return torch.get_num_threads()
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            return "alive"
    return task * 2

def linger(path):
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    time.sleep(300)
"""


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    (tmp_path / "errands.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "errands", raising=False)
    function: Callable[[Any], Any] = import_module("errands").act
    return function


def test_in_this_process_results_come_in_order() -> None:
    def double(task: int) -> int:
        if task == 2:
            msg = "two"
            raise ValueError(msg)
        return 2 * task

    assert list(workers.run(double, [1, 2, 3], 0)) == [(0, 2), (1, Broken("ValueError: two")), (2, 6)]


def test_nothing_to_do_starts_nothing() -> None:
    assert list(workers.run(print, [], 4)) == []


def test_whoever_dies_takes_one_task_along(act: Callable[[Any], Any]) -> None:
    tasks = [1, "signal", 2, "exit", "raise", 3, "unpicklable", "interrupt", "threads", 4]
    results = dict(workers.run(act, tasks, 2))
    assert sorted(results) == list(range(len(tasks)))
    assert [results[index] for index in (0, 2, 5, 9)] == [2, 4, 6, 8]
    assert results[1] == Broken("the process that worked on it died (signal 9)")
    assert results[3] == Broken("the process that worked on it died (exit code 3)")
    assert results[4] == Broken("ValueError: no way")
    unpicklable = results[6]
    assert isinstance(unpicklable, Broken)
    assert "pickle" in unpicklable.reason
    assert results[7] == "alive", "Ctrl-C at a terminal reaches the workers too"
    assert results[8] == 1


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look at other processes")
def test_workers_do_not_outlive_who_started_them(act: Callable[[Any], Any], tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = tmp_path / "starter.py"
    script.write_text(
        "import errands\nfrom bincodec.eval import workers\n"
        f"if __name__ == '__main__':\n    list(workers.run(errands.linger, [{str(mark)!r}], 1))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as starter:
        wait_for(mark.exists, starter)
        worker = int(mark.read_text())
        assert is_alive(worker)
        starter.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_alive(worker))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, "it ended before its time"
        assert time.monotonic() < end
        time.sleep(0.02)


@dataclass(frozen=True)
class Answer:
    value: int

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value}


def pieces(*found: Answer | None) -> list[Piece[int, Answer]]:
    return [Piece(f"ab{index}", index, answer) for index, answer in enumerate(found)]


def test_found_results_are_not_made_again(tmp_path: Path) -> None:
    made = []

    def make(task: int) -> Answer:
        made.append(task)
        return Answer(task)

    cache = Cache(tmp_path)
    assert resume.work(make, pieces(None, Answer(7), None), cache=cache) == [Answer(0), Answer(7), Answer(2)]
    assert made == [0, 2]
    assert [cache.get(f"ab{index}") for index in range(3)] == [{"value": 0}, None, {"value": 2}]


def test_failures_are_not_kept(tmp_path: Path) -> None:
    def fail(task: int) -> Answer:
        raise ValueError(task)

    cache = Cache(tmp_path)
    assert resume.work(fail, pieces(None), cache=cache) == [Broken("ValueError: 0")]
    assert cache.get("ab0") is None


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    def stop_at_two(task: int) -> Answer:
        if task == 2:
            raise KeyboardInterrupt
        return Answer(task)

    cache = Cache(tmp_path)
    with pytest.raises(Interrupted) as stop:
        resume.work(stop_at_two, pieces(None, Answer(1), None, None), cache=cache)
    assert (stop.value.done, stop.value.total) == (2, 4)
    assert cache.get("ab0") == {"value": 0}


def test_an_interruption_does_not_count_what_failed() -> None:
    def act(task: int) -> Answer:
        if task == 2:
            raise KeyboardInterrupt
        if task == 0:
            raise ValueError(task)
        return Answer(task)

    with pytest.raises(Interrupted) as stop:
        resume.work(act, pieces(None, None, None))
    assert (stop.value.done, stop.value.total) == (1, 3)


def test_a_cache_that_takes_nothing_is_said_once(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.warns(UserWarning, match="results are not kept") as said:
        results = resume.work(Answer, pieces(None, None, None), cache=Cache(occupied))
    assert results == [Answer(0), Answer(1), Answer(2)]
    assert len(said) == 1
