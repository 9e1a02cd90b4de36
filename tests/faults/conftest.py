"""Runs in which something goes wrong, and what must hold after each of them.

The environment variable BINCODEC_FAULT_ROUNDS sets how often the tests try: 1 in `make test`, more in
`make faults`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"
COMMAND = (
    "torch",
    "bincodec.api",
    "bincodec.cli.compress",
    "bincodec.cli.decompress",
    "bincodec.cli.start",
    "bincodec.encoder.search",
)
PHOTO, CODED, LARGE = "photo.png", "small.bld", "large.bld"
INPUTS = {PHOTO, CODED, LARGE}
ROUNDS = int(os.environ.get("BINCODEC_FAULT_ROUNDS", "1"))
INTERRUPTED = "bincodec: error: interrupted"


class Server:
    """The other end of `server.py`. With fewer imported modules, its forks are faster."""

    def __init__(self, *modules: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py"), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "BINCODEC_MODELS": str(TINY.parent)},
        )
        assert self._next() == {"ready": True}

    def ask(self, **request: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._next()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()


@dataclass(frozen=True)
class Ended:
    """A finished run: its exit code, or the negative number of the signal that killed it, and its output."""

    code: int
    said: str


@dataclass(frozen=True)
class Run:
    """A run that is still going on."""

    server: Server
    pid: int
    talk: Path

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)  # The process can get signals until its end was requested.

    def stops(self) -> bool:
        """Wait until the run has stopped, and return whether it has stopped instead of ended."""
        return self.server.ask(wait=self.pid)["code"] is None

    def go_on(self) -> None:
        self.send(signal.SIGCONT)

    def end(self) -> Ended:
        code = self.server.ask(wait=self.pid)["code"]
        return Ended(code, self.talk.read_text() if self.talk.exists() else "")

    def blocks(self) -> None:
        """Wait until the run waits for somebody else because it has nothing else to do."""
        stat = Path(f"/proc/{self.pid}/stat")
        asleep = 0
        while asleep < 20:
            asleep = asleep + 1 if stat.read_text().rsplit(")", 1)[1].split()[0] == "S" else 0
            time.sleep(0.002)


@dataclass(frozen=True)
class Place:
    """A folder with a photo and a .bld file, in which runs take place."""

    server: Server
    folder: Path
    talk: Path
    numbers: Iterator[int]

    def start(self, *arguments: object, **more: object) -> Run:
        """Start the command or, with `call`, a function of `bincodec.io.files` (see server.py for `more`)."""
        talk = self.talk / f"{next(self.numbers)}.txt"
        what = {"arguments": [str(argument) for argument in arguments]} if arguments else {}
        pid = self.server.ask(start={"folder": str(self.folder), "stderr": str(talk), **what, **more})["pid"]
        return Run(self.server, pid, talk)

    def run(self, *arguments: object, **more: object) -> Ended:
        return self.start(*arguments, **more).end()

    def count(self, files: list[str], *arguments: object, **more: object) -> int:
        """Return how many lines of `files` a run executes if nothing goes wrong."""
        counts = self.talk / "count"
        fault = {"files": files, "line": 0, "action": ""}
        ended = self.run(*arguments, fault=fault, counts=str(counts), **more)
        assert ended.code == 0, ended
        return int(counts.read_text())

    def names(self) -> set[str]:
        """Return the files beside the inputs."""
        return {path.name for path in self.folder.iterdir()} - INPUTS

    def clear(self) -> None:
        for name in self.names():
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass(frozen=True)
class Job:
    """A command, its output, the content of the output if nothing goes wrong, and about how long it takes."""

    arguments: tuple[object, ...]
    out: str
    whole: bytes
    seconds: float


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Yield a server for runs of the command."""
    server = Server(*COMMAND)
    yield server
    server.close()


@pytest.fixture(scope="session")
def light_server() -> Iterator[Server]:
    """Yield a server for runs of functions of `bincodec.io.files`."""
    server = Server("bincodec.io.files")
    yield server
    server.close()


@pytest.fixture(scope="session")
def inputs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        image.convert("RGB").crop((150, 60, 190, 90)).save(folder / PHOTO)
        image.convert("RGB").crop((150, 60, 310, 180)).save(folder / "large.png")
    place = Place(server, folder, tmp_path_factory.mktemp("talk"), itertools.count())
    for source, coded in ((PHOTO, CODED), ("large.png", LARGE)):
        assert place.run("compress", source, coded, "--model", TINY).code == 0
    (folder / "large.png").unlink()
    return folder


@pytest.fixture
def place(server: Server, inputs: Path, tmp_path: Path) -> Place:
    folder, talk = tmp_path / "here", tmp_path / "talk"
    shutil.copytree(inputs, folder)
    talk.mkdir()
    return Place(server, folder, talk, itertools.count())


@pytest.fixture
def light_place(light_server: Server, tmp_path: Path) -> Place:
    """Return a folder without inputs, for functions of `bincodec.io.files`."""
    folder, talk = tmp_path / "here", tmp_path / "talk"
    folder.mkdir()
    talk.mkdir()
    return Place(light_server, folder, talk, itertools.count())


@pytest.fixture(scope="session")
def jobs(server: Server, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    made = {}
    for source, out in ((PHOTO, "out.bld"), (CODED, "out.png")):
        arguments = ("compress" if source == PHOTO else "decompress", source, out, "--model", TINY)
        folder = tmp_path_factory.mktemp("whole") / "here"
        shutil.copytree(inputs, folder)
        start = time.monotonic()
        ended = Place(server, folder, folder.parent, itertools.count()).run(*arguments)
        assert ended.code == 0, ended
        seconds = time.monotonic() - start
        made[arguments[0]] = Job(arguments, out, (folder / out).read_bytes(), seconds)
    return made


@pytest.fixture(params=["compress", "decompress"])
def job(request: pytest.FixtureRequest, jobs: dict[str, Job]) -> Job:
    return jobs[request.param]


@pytest.fixture
def dice() -> random.Random:
    """Moments differ between runs of `make faults`, so a failure says what had happened."""
    return random.Random(None if ROUNDS > 1 else 7)


def check(place: Place, ended: Ended, job: Job, old: bytes | None = None) -> None:
    """Check what docs/cli.md promises of a run of `job`, whatever happened. `old` was to be replaced."""
    path = place.folder / job.out
    found = path.read_bytes() if path.exists() else None
    left = place.names() - {job.out}
    if ended.code == -signal.SIGKILL:
        assert found in (old, job.whole), "half-written"
        assert all(name.startswith(".bincodec-") and name.endswith(".tmp") for name in left), left
        return
    assert not left, (left, ended)
    last, *before = ended.said.splitlines()[::-1]
    assert last.startswith(f"{job.out}: " if ended.code == 0 else "bincodec: error: "), ended
    if ended.code == 0:
        assert (found, before) == (job.whole, []), ended
        return
    assert ended.code in (1, 130), ended
    delivered = last == f"{INTERRUPTED} ({job.out} is written, and whole)"
    assert (ended.code == 130) == (delivered or last == INTERRUPTED), ended
    assert found == (job.whole if delivered else old), ended
    # If everything was done and reported, the interruption is reported as well.
    assert not before or (delivered and len(before) == 1 and before[0].startswith(f"{job.out}: ")), ended


@pytest.fixture(name="check", scope="session")
def check_fixture() -> Callable[..., None]:
    """Return `check`, for modules that cannot import this one."""
    return check


@pytest.fixture(scope="session")
def model() -> str:
    return str(TINY)


@pytest.fixture(scope="session")
def rounds() -> int:
    return ROUNDS


@pytest.fixture
def chosen(dice: random.Random) -> Callable[[int], list[int]]:
    """Return the lines, of n, before which something happens: a few spread ones, or all with more rounds."""

    def choose(count: int, few: int = 8) -> list[int]:
        step = 1 if ROUNDS > 1 else max(1, count // few)
        return list(range(1 + dice.randrange(step), count + 1, step))

    return choose
