"""Several parts at once: results in order, one core for each, and no effect on the caller's threads."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from bincodec import workers
from bincodec.workers import in_order


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def default() -> int:
    """Return the number of threads that PyTorch uses in a new thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def ours() -> list[threading.Thread]:
    """Return the threads of pools that still exist."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("bincodec")]


def slow_first(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number**2


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_results_come_in_the_order_of_the_parts(threads: int, count: int) -> None:
    torch.set_num_threads(threads)
    assert list(in_order("try", slow_first, iter(range(count)))) == [number**2 for number in range(count)]
    assert not ours()


def test_as_many_parts_are_at_work_as_torch_has_threads() -> None:
    """All three parts must arrive before any of them continues."""
    together = threading.Barrier(3, timeout=60)

    def part(_: int) -> tuple[int, int]:
        together.wait()
        return threading.get_ident(), torch.get_num_threads()

    found = list(in_order("try", part, range(6)))
    assert len({thread for thread, _ in found}) == 3
    assert threading.get_ident() not in {thread for thread, _ in found}
    # This also holds after PyTorch has multiplied there for the first time.
    assert [threads for _, threads in found] == [1] * 6


def test_products_of_a_part_stay_on_one_core() -> None:
    """PyTorch's first parallel region in a new thread does not change the number of threads."""

    def part(size: int) -> int:
        torch.ones(size, size).exp().sum()
        return torch.get_num_threads()

    assert set(in_order("try", part, [300] * 6)) == {1}


def test_a_single_part_keeps_all_cores_and_the_caller_s_thread() -> None:
    assert list(in_order("try", lambda _: (threading.get_ident(), torch.get_num_threads()), [0])) == [
        (threading.get_ident(), 3)
    ]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "meta"])
def test_other_devices_take_one_part_after_the_other(device: str) -> None:
    assert set(in_order("try", lambda _: threading.get_ident(), range(4), device)) == {threading.get_ident()}


def test_a_part_that_has_parts_itself_does_them_alone() -> None:
    def part(number: int) -> tuple[set[int], int]:
        return set(in_order("try", lambda _: threading.get_ident(), range(3))), threading.get_ident()

    assert all(inner == {outer} for inner, outer in in_order("try", part, range(4)))


def test_no_more_parts_are_begun_than_are_soon_asked_for() -> None:
    begun: list[int] = []
    results = in_order("try", lambda number: begun.append(number) or number, range(100))
    assert next(results) == 0
    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4
    assert not ours()


class BrokenError(Exception):
    pass


def test_an_exception_ends_the_rest() -> None:
    begun: list[int] = []

    def part(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise BrokenError
        return number

    results = in_order("try", part, range(100))
    found: list[int] = []
    with pytest.raises(BrokenError):
        found.extend(results)
    assert found == [0, 1]
    assert max(begun) <= 6
    assert not ours()
    assert (torch.get_num_threads(), default()) == (3, 3)


def test_an_exception_of_the_caller_ends_the_rest() -> None:
    begun: list[int] = []

    def use() -> None:
        for _ in in_order("try", begun.append, range(100)):
            raise BrokenError

    with pytest.raises(BrokenError):
        use()
    assert len(begun) <= 4
    assert not ours()


def test_the_numbers_of_threads_stay_as_they_were() -> None:
    assert default() == 3
    for _ in in_order("try", slow_first, range(7)):
        # This must hold during the work, so that a thread that the caller starts then is not slowed down.
        assert (torch.get_num_threads(), default()) == (3, 3)
    assert (torch.get_num_threads(), default()) == (3, 3)


def test_a_caller_whose_number_is_not_the_default_keeps_both() -> None:
    def caller() -> tuple[int, int]:
        torch.get_num_threads()
        torch.set_num_threads(2)
        with ThreadPoolExecutor(1) as other:
            other.submit(torch.get_num_threads).result()
            other.submit(torch.set_num_threads, 5).result()
        assert (torch.get_num_threads(), default()) == (2, 5)
        list(in_order("try", slow_first, range(5)))
        return torch.get_num_threads(), default()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(caller).result() == (2, 5)


def test_several_callers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each caller is new to PyTorch, which must not give it the number of threads of another pool."""

    def take_time(begun: threading.Barrier) -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        time.sleep(0.02)
        begun.wait()

    monkeypatch.setattr(workers, "_begin", take_time)

    def caller(number: int) -> tuple[list[int], int]:
        found = list(in_order("try", lambda part: number * part, range(5)))
        return found, torch.get_num_threads()

    for _ in range(3):
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(caller, range(6)))
        assert results == [([number * part for part in range(5)], 3) for number in range(6)]
    assert (torch.get_num_threads(), default()) == (3, 3)
    assert not ours()


def test_parts_are_apart_from_what_their_caller_has_set() -> None:
    def part(_: int) -> tuple[torch.dtype, bool, str]:
        product = torch.ones(2, 2, dtype=torch.float32) @ torch.ones(2, 2, dtype=torch.float32)
        return product.dtype, torch.is_inference_mode_enabled(), np.geterr()["divide"]

    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), np.errstate(all="raise"):
        assert set(in_order("try", part, range(4))) == {(torch.float32, False, "ignore")}


def no_more_threads(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Let the system start only so many more threads."""
    honest, started = threading.Thread.start, iter(range(left))

    def start(thread: threading.Thread) -> None:
        if next(started, None) is None:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        honest(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_where_no_thread_starts_parts_follow_each_other(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """The keeper takes the first thread. The threads of the pool that have started must not wait forever."""
    with monkeypatch.context() as patch:
        no_more_threads(patch, left)
        found = list(in_order("try", lambda part: (part, threading.get_ident()), range(5)))
    assert found == [(part, threading.get_ident()) for part in range(5)]
    assert (torch.get_num_threads(), default()) == (3, 3)
    assert not ours()


def test_an_interruption_while_threads_begin_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    begun = threading.Barrier(4)
    monkeypatch.setattr(workers.threading, "Barrier", lambda _: begun)
    monkeypatch.setattr(begun, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(in_order("try", slow_first, range(5)))
    monkeypatch.undo()
    assert not ours()
    assert (torch.get_num_threads(), default()) == (3, 3)
    assert list(in_order("try", slow_first, range(5))) == [0, 1, 4, 9, 16]


FORKING = """
import os, sys, threading, time
import torch
from bincodec.workers import in_order

def work(part):
    return float(torch.ones(300, 300).exp().sum()) * part

torch.set_num_threads(2)
expected = [work(part) for part in range(4)]
stop = threading.Event()

def busy():
    while not stop.is_set():
        list(in_order("try", work, range(4)))

# Forks meet pools that begin, work and end.
thread = threading.Thread(target=busy)
thread.start()
children = []
for _ in range(12):
    time.sleep(0.01)
    child = os.fork()
    if not child:
        # A library of OpenMP does not survive a fork; `isolated` sees to that before any call.
        from bincodec.isolation import isolated
        with isolated():
            same = list(in_order("try", work, range(4))) == expected
        # Several threads that torch has no part in, as after torch's own books are in order again.
        torch.set_num_threads(2)
        same = same and list(in_order("try", lambda part: part, range(4))) == [0, 1, 2, 3]
        os._exit(0 if same else 1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
stop.set()
thread.join()
assert codes == [0] * 12, codes
assert list(in_order("try", work, range(4))) == expected
print("all the same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_finds_no_lock_held() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:.*multi-threaded:DeprecationWarning", "-c", FORKING],
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "all the same"), done.stderr


@pytest.mark.parametrize("threads", [1, 3])
def test_whoever_watches_is_told_of_each_part(threads: int) -> None:
    told: list[tuple[str, int, int]] = []
    torch.set_num_threads(threads)
    with workers.watched(lambda *news: told.append(news)):
        list(in_order("try", lambda part: part, range(4)))
    assert told == [("try", done, 4) for done in (1, 2, 3, 4)]
    list(in_order("try", lambda part: part, range(4)))
    assert len(told) == 4
