"""Measure the time and memory of codecs, and the size of their networks, side by side in one run.

Each codec processes each picture in a new process (`bincodec.eval.timing`) that does nothing else. The peak
memory is that of the whole process: the interpreter, the libraries, the model, the picture, and what the
codec needs. Nothing is subtracted. Nothing else should run on the machine at the same time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from bincodec.eval import process
from bincodec.eval.measure import Picture
from bincodec.eval.peers import Peer, read_spec
from bincodec.eval.process import ProcessFailed
from bincodec.eval.sweep import Failure
from bincodec.eval.timing import Job

COMMAND = (sys.executable, "-c", "from bincodec.cli.start import main; main()")
WORKER = (sys.executable, "-m", "bincodec.eval.timing")


@dataclass(frozen=True)
class SpeedRow:
    """One codec on one picture, with its model loaded. Seconds are medians, and `_least` is the fastest call.

    Args:
        load_seconds: the time to import the libraries and load the model, once.
        checked_seconds: the time to encode and read the file back, as `bincodec compress` does. It is None
            for other codecs.
        loaded_megabytes: the peak memory before anything was coded.
        megabytes: the peak memory of the whole process.
    """

    image: str
    codec: str
    setting: int
    width: int
    height: int
    bytes: int
    bits_per_pixel: float
    load_seconds: float
    encode_seconds: float
    encode_seconds_least: float
    checked_seconds: float | None
    checked_seconds_least: float | None
    decode_seconds: float
    decode_seconds_least: float
    loaded_megabytes: float
    megabytes: float


@dataclass(frozen=True)
class Network:
    """The work of a codec's networks, or of a part of them, on a picture.

    `parameters` is None if the part has none of its own.
    """

    image: str
    codec: str
    setting: int
    part: str
    parameters: int | None
    multiply_adds_per_pixel: float


@dataclass(frozen=True)
class Command:
    """A whole process of the command line, from start to end. `image` is None if it does not use one."""

    image: str | None
    command: str
    seconds: float
    seconds_least: float
    megabytes: float


@dataclass(frozen=True)
class Subject:
    """A codec to measure: its spec and its adapter."""

    spec: str
    peer: Peer

    @property
    def is_bincodec(self) -> bool:
        """Whether it is a codec of this project."""
        return self.spec.partition(":")[0] == "bincodec"

    @property
    def setting(self) -> int:
        """The middle setting of its grid."""
        return self.peer.settings[len(self.peer.settings) // 2]


@dataclass(frozen=True)
class SpeedPlan:
    """What to measure and how. `threads` is the number of cores that each process may use."""

    pictures: Sequence[Picture]
    subjects: Sequence[Subject]
    repeat: int
    threads: int
    model: str = "photo"
    device: str = "cpu"


Result = SpeedRow | Network | Command


@dataclass(frozen=True)
class Report:
    """All results of a run, and its failures."""

    plan: SpeedPlan
    machine: dict[str, Any]
    rows: tuple[SpeedRow, ...]
    networks: tuple[Network, ...]
    commands: tuple[Command, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Task:
    """Something that is measured in processes of its own."""

    picture: Picture
    codec: str
    setting: int
    run: Callable[[], list[Result]]


def measure(plan: SpeedPlan, *, progress: bool = False) -> Report:
    """Measure every codec on every picture, and then the networks and the commands on the first picture.

    The commands use the options of the first bincodec that has all layers and the default kernel. If a
    process fails, only its own result is missing.
    """
    before = machine()
    found: list[Result] = []
    failures = []
    for task in tqdm(_tasks(plan), desc="measurements", disable=None if progress else True):
        try:
            found += task.run()
        except ProcessFailed as error:
            failures.append(Failure(task.picture.path, str(error), task.codec, task.setting))
    return Report(
        plan,
        before,
        tuple(result for result in found if isinstance(result, SpeedRow)),
        tuple(result for result in found if isinstance(result, Network)),
        tuple(result for result in found if isinstance(result, Command)),
        tuple(failures),
    )


def _tasks(plan: SpeedPlan) -> list[Task]:
    first = plan.pictures[:1]
    ours = [subject for subject in plan.subjects if _is_as_commands(plan, subject)]
    return [
        Task(picture, subject.peer.name, subject.setting, functools.partial(run, plan, picture, subject))
        for run, pictures, subjects in (
            (_rows, plan.pictures, plan.subjects),
            (_networks, first, plan.subjects),
            (_commands, first, ours[:1]),
        )
        for picture in pictures
        for subject in subjects
    ]


def _is_as_commands(plan: SpeedPlan, subject: Subject) -> bool:
    """Return whether `bincodec compress` can do the same. It has no options for layers or the kernel."""
    if not subject.is_bincodec:
        return False
    values = read_spec(subject.spec, model=plan.model, device=plan.device).values
    return (values["layers"], values["kernel"]) == ("all", "auto")


def machine() -> dict[str, Any]:
    """Return what the numbers depend on beside the codecs. The load is the mean of the last minute."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "usable_cores": process.usable_cores(),
        "load": load,
        "python": platform.python_version(),
    }


def _job(
    plan: SpeedPlan, what: Literal["seconds", "networks"], picture: Picture, subject: Subject
) -> process.Process:
    job = Job(what, picture.path, subject.spec, subject.setting, plan.model, plan.device, plan.repeat)
    return process.run([*WORKER, json.dumps(dataclasses.asdict(job))], plan.threads)


def _rows(plan: SpeedPlan, picture: Picture, subject: Subject) -> list[Result]:
    done = _job(plan, "seconds", picture, subject)
    found = json.loads(done.output)
    checked = found["checked"] or {"median": None, "least": None}
    row = SpeedRow(
        picture.path,
        subject.peer.name,
        subject.setting,
        picture.width,
        picture.height,
        found["bytes"],
        8 * found["bytes"] / (picture.width * picture.height),
        found["load"],
        found["encode"]["median"],
        found["encode"]["least"],
        checked["median"],
        checked["least"],
        found["decode"]["median"],
        found["decode"]["least"],
        found["loaded_megabytes"],
        done.megabytes,
    )
    return [row]


def _networks(plan: SpeedPlan, picture: Picture, subject: Subject) -> list[Result]:
    parts = json.loads(_job(plan, "networks", picture, subject).output)
    area = picture.width * picture.height
    names = (picture.path, subject.peer.name, subject.setting)
    return [Network(*names, part["name"], part["parameters"], part["multiply_adds"] / area) for part in parts]


def _commands(plan: SpeedPlan, picture: Picture, subject: Subject) -> list[Result]:
    """Measure whole processes of `bincodec`. A first run of each fills the disk cache and is not counted."""
    photo, results = picture.path, list[Result]()
    spec = read_spec(subject.spec, model=plan.model, device=plan.device)
    with tempfile.TemporaryDirectory() as folder:
        bld, png = str(Path(folder) / "photo.bld"), str(Path(folder) / "photo.png")
        options = ["--model", spec.values["model"], "--device", spec.values["device"], "--force", "--quiet"]
        how = ["--quality", str(subject.setting), "--effort", spec.values["effort"]]
        realism = ["--realism", spec.values["realism"]]
        compress = ["compress", photo, bld, *how, *options]
        calls: tuple[tuple[str | None, str, list[str]], ...] = (
            (None, "bincodec --help", [*COMMAND, "--help"]),
            (None, "import bincodec", [sys.executable, "-c", "import bincodec"]),
            (photo, "bincodec compress", [*COMMAND, *compress]),
            (photo, "bincodec decompress", [*COMMAND, "decompress", bld, png, *realism, *options]),
        )
        for image, name, program in calls:
            runs = [process.run(program, plan.threads) for _ in range(plan.repeat + 1)][1:]
            seconds = [run.seconds for run in runs]
            megabytes = max(run.megabytes for run in runs)
            results.append(Command(image, name, statistics.median(seconds), min(seconds), megabytes))
    return results
