"""Ctrl-C (SIGINT) at any moment: one line, exit code 130, and no output or a whole file named in the line."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CODED, LARGE = "small.bld", "large.bld"
HERE = Path(__file__).resolve().parent
ENDING = [f"cli/{name}.py" for name in ("start", "interruption", "main", "places", "output", "standard")]
OLD = b"an older file"
INTERRUPTED = "bincodec: error: interrupted\n"


def interrupt(run: Any, dice: random.Random, within: float) -> None:
    """The signal comes at a random moment, and sometimes again at once."""
    time.sleep(dice.uniform(0, within))
    run.send(signal.SIGINT)
    for _ in range(dice.randrange(3)):
        time.sleep(dice.uniform(0, 0.003))
        run.send(signal.SIGINT)


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
def test_at_random(
    place: Any, job: Any, check: Callable[..., None], old: bytes | None, dice: random.Random, rounds: int
) -> None:
    """It comes while the model is loaded, the picture is encoded or decoded, packed, written, or reported."""
    options = ["--force"] if old else []
    for _ in range(8 * rounds):
        place.clear()
        if old:
            (place.folder / job.out).write_bytes(old)
        run = place.start(*job.arguments, *options)
        interrupt(run, dice, job.seconds)
        check(place, run.end(), job, old)


def test_before_lines_of_the_command(
    place: Any, job: Any, check: Callable[..., None], chosen: Callable[[int], list[int]]
) -> None:
    """It comes before lines that begin, write, report and end."""
    lines = place.count(ENDING, *job.arguments)
    for line in chosen(lines):
        place.clear()
        ended = place.run(*job.arguments, fault={"files": ENDING, "line": line, "action": "SIGINT"})
        check(place, ended, job)


def test_where_it_is_ignored_it_stays_so(place: Any, job: Any, check: Callable[..., None]) -> None:
    """It is ignored, as for a command that a shell runs in the background."""
    run = place.start(*job.arguments, deaf=True)
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.code == 0
    check(place, ended, job)


@pytest.mark.parametrize("how", ["failure", "panic", "nothing"])
def test_a_library_loses_it(place: Any, job: Any, how: str) -> None:
    """The library fails in its own way, or goes on as if there were no signal. Nothing is written then."""
    ended = place.run(*job.arguments, loses=how)
    assert (ended.code, ended.said, place.names()) == (130, INTERRUPTED, set())


@pytest.mark.parametrize("arguments", [["info", "-"], ["compress", "-", "out.bld"]])
def test_waiting_for_input(place: Any, arguments: list[str]) -> None:
    os.mkfifo(place.folder / "pipe")
    with open(place.folder / "pipe", "r+b", buffering=0):  # This could be a writer, but it never writes.
        run = place.start(*arguments, stdin="pipe")
        run.blocks()
        run.send(signal.SIGINT)
        ended = run.end()
    assert (ended.code, ended.said, place.names()) == (130, INTERRUPTED, {"pipe"})


@pytest.mark.parametrize("where", ["standard output", "a pipe by its path", "a pipe that nobody opens"])
def test_writing_to_somebody_who_does_not_read(place: Any, where: str) -> None:
    os.mkfifo(place.folder / "pipe")
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    full = f"/proc/{os.getpid()}/fd/{writer}"
    try:
        out = {"standard output": "-", "a pipe by its path": full}.get(where, "pipe")
        run = place.start("decompress", LARGE, out, stdout=full if out == "-" else os.devnull)
        run.blocks()
        run.send(signal.SIGINT)
        ended = run.end()
    finally:
        os.close(reader)
        os.close(writer)
    assert (ended.code, ended.said, place.names()) == (130, INTERRUPTED, {"pipe"})


def test_telling_somebody_who_does_not_read(place: Any) -> None:
    """Output that could not be written stays in Python's buffer, and is not tried again at the end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, bytes(4096))
    try:
        run = place.start("info", CODED, stdout=f"/proc/{os.getpid()}/fd/{writer}")
        run.blocks()
        run.send(signal.SIGINT)
        ended = run.end()
    finally:
        os.close(reader)
        os.close(writer)
    assert (ended.code, ended.said) == (130, INTERRUPTED)


def test_a_second_one_ends_what_cannot_even_say_so(place: Any) -> None:
    """Nobody reads standard error. After a second, the command does not wait any more."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, bytes(4096))
    try:
        run = place.start("info", "missing.bld", stderr=f"/proc/{os.getpid()}/fd/{writer}")
        run.blocks()
        run.send(signal.SIGINT)  # It is too early: the command has just failed by itself, with exit code 1.
        run.blocks()
        time.sleep(1.1)
        run.send(signal.SIGINT)
        assert run.end().code == 1
    finally:
        os.close(reader)
        os.close(writer)


def test_a_process_of_its_own(
    place: Any, job: Any, check: Callable[..., None], dice: random.Random, rounds: int
) -> None:
    """It comes while Python imports the libraries, and at Python's end, which forks do not go through."""
    for _ in range(rounds):
        for while_it_ends in (False, True) if rounds > 1 else (job.out == "out.png",):
            place.clear()
            run = Process(place, job.arguments)
            if while_it_ends:
                while not (place.folder / job.out).exists() and run.process.poll() is None:
                    time.sleep(0.001)
            time.sleep(dice.uniform(0, 0.3 if while_it_ends else 3))
            run.process.send_signal(signal.SIGINT)
            check(place, run.end(), job)


class Process:
    """The command as a user starts it. It hears Ctrl-C as soon as it can respond."""

    def __init__(self, place: Any, arguments: tuple[object, ...]) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
            "import server; server.hold_back_until_heeded()\n"
            "from bincodec.cli.start import main; main()"
        )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=place.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def end(self) -> SimpleNamespace:
        _, said = self.process.communicate(timeout=60)
        return SimpleNamespace(code=self.process.returncode, said=said)


def test_ctrl_c_in_the_coders_first_use_is_no_failure_of_the_coder() -> None:
    """The library looks up a function of Python when it is first used. By then, this has already happened."""
    script = """
import re, signal
import bincodec.codec
from bincodec.bitstream.coder import BitDecoder

def interrupted(*arguments, **options):
    signal.raise_signal(signal.SIGINT)

re.match = interrupted
BitDecoder(b"")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
