"""Check that files are the same everywhere: write and read the same levels in many environments.

    python benchmarks/determinism.py [--model NAME] [--qualities 0 50 100] IMAGE...

The images are encoded once, because the encoder is a float network, whose levels may differ between machines.
One process for each environment then writes and reads the levels, in tiles of the default size and of the
smallest. The environments are 1 and 2 threads, three instruction sets of PyTorch's own kernels and three of
oneDNN's, and CUDA if there is a GPU. In each of them, every kernel of the integer prior is used. All must
write the same bytes, read the same levels from them, and write them again. A table shows the results. The
exit status is 1 if there is any difference.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KERNELS = ("conv", "matmul", "float64")
THREADS = (1, 2)
INSTRUCTION_SETS = (("default", "SSE41"), ("avx2", "AVX2"), ("avx512", "AVX512_CORE"))
"""Values for ATEN_CPU_CAPABILITY, which selects an instruction set, and for ONEDNN_MAX_CPU_ISA, which limits
it."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """The settings that a process is started with."""

    threads: int = 1
    aten: str = "default"
    onednn: str = "AVX512_CORE"
    device: str = "cpu"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of these settings. Libraries read them when they are loaded."""
        return {
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
            "ATEN_CPU_CAPABILITY": self.aten,
            "ONEDNN_MAX_CPU_ISA": self.onednn,
        }

    def __str__(self) -> str:
        return f"{self.device}, {self.threads} threads, ATen {self.aten}, oneDNN {self.onednn}"


@dataclasses.dataclass(frozen=True)
class Report:
    """The results of one kernel in one environment: a digest of each file written and read, and the time.

    `capability` is the instruction set or GPU that PyTorch reports. `repacked` says whether every file was
    the same after being read and written again.
    """

    environment: str
    capability: str
    kernel: str
    written: tuple[str, ...]
    read: tuple[str, ...]
    repacked: bool
    seconds: float


def supported_aten() -> tuple[str, ...]:
    """Return the instruction sets of this machine. PyTorch would use others without a check, and crash."""
    import torch

    names = tuple(aten for aten, _ in INSTRUCTION_SETS)
    best = torch.backends.cpu.get_cpu_capability().lower()
    return names[: names.index(best) + 1] if best in names else names[:1]


def cpu_environments(*, every_pair: bool) -> list[Environment]:
    """Return all combinations, or only as many that each setting occurs with each number of threads."""
    atens = supported_aten()
    if every_pair:
        pairs = list(itertools.product(atens, (onednn for _, onednn in INSTRUCTION_SETS)))
    else:
        pairs = [(aten if aten in atens else atens[-1], onednn) for aten, onednn in INSTRUCTION_SETS]
    return [Environment(threads, *pair) for threads in THREADS for pair in pairs]


def prepare(folder: Path, model: str, images: Sequence[Path], qualities: Sequence[int]) -> tuple[str, ...]:
    """Encode each image at each quality, save levels and a reference file in `folder`, and return digests.

    There is also a file with the smallest tiles, unless it has as many tiles as with the default size.
    """
    import numpy as np

    from bincodec import Codec
    from bincodec.bitstream.tiles import SMALLEST_SIDE

    codec = Codec.load(model)
    digests: list[str] = []
    for image, quality in itertools.product(images, qualities):
        usual = dataclasses.replace(codec.encode(image, quality), extras=())
        smallest = dataclasses.replace(usual, tile_side=SMALLEST_SIDE)
        layers = {f"layer{i}": levels for i, levels in enumerate(usual.levels)}
        for code in (usual, smallest) if len(smallest.tiles) > len(usual.tiles) else (usual,):
            size = np.array([code.width, code.height, code.quality, code.grey, code.tile_side])
            np.savez(folder / f"{len(digests)}.npz", size=size, **layers)
            (folder / f"{len(digests)}.bld").write_bytes(codec.pack(code))
            digests.append(code.digest())
    return tuple(digests)


def work(folder: Path, model: str, environment: Environment) -> list[Report]:
    """Write and read all files of `folder` in this process, with every kernel."""
    import torch

    from bincodec import Codec

    torch.set_num_threads(environment.threads)
    capability = torch.backends.cpu.get_cpu_capability()
    if environment.device == "cuda":
        capability = torch.cuda.get_device_name()
    reports = []
    for kernel in KERNELS:
        codec = Codec.load(model, environment.device, kernel)
        began = time.perf_counter()
        written, read, repacked = [], [], True
        for index in range(len(list(folder.glob("*.npz")))):
            data = codec.pack(load_code(folder / f"{index}.npz", codec))
            written.append(hashlib.sha256(data).hexdigest())
            reference = (folder / f"{index}.bld").read_bytes()
            found = codec.unpack(reference)
            read.append(found.digest())
            repacked &= codec.pack(found) == reference
        seconds = round(time.perf_counter() - began, 2)
        reports.append(
            Report(str(environment), capability, kernel, tuple(written), tuple(read), repacked, seconds)
        )
    return reports


def load_code(path: Path, codec: Any) -> Any:
    """Load a code that `prepare` saved."""
    import numpy as np

    from bincodec import BinaryCode

    card = codec.model.card
    with np.load(path) as arrays:
        width, height, quality, grey, side = arrays["size"].tolist()
        levels = tuple(arrays[f"layer{i}"] for i in range(card.architecture.layers))
    maximum = card.architecture.maximum_level
    named = card.name, card.fingerprint
    return BinaryCode(levels, maximum, width, height, quality, *named, bool(grey), tile_side=side)


def start(folder: Path, model: str, environment: Environment) -> list[Report]:
    """Run `work` in a process of its own."""
    settings = json.dumps(dataclasses.asdict(environment))
    command = [sys.executable, str(Path(__file__).resolve()), "--work", str(folder), model, settings]
    done = subprocess.run(
        command, env=os.environ | environment.variables(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"{environment}: the process failed:\n{done.stderr}"
        raise RuntimeError(msg)
    fields = json.loads(done.stdout)
    return [
        Report(**{name: tuple(v) if isinstance(v, list) else v for name, v in one.items()}) for one in fields
    ]


def differences(folder: Path, digests: tuple[str, ...], reports: Sequence[Report]) -> list[str]:
    """Return what is not the same everywhere, as one line for each difference.

    If there is none, every environment can read the files of every other one, because all write the same file
    that all have read.
    """
    files = tuple(
        hashlib.sha256((folder / f"{index}.bld").read_bytes()).hexdigest() for index in range(len(digests))
    )
    found = []
    for report in reports:
        where = f"{report.environment}, kernel {report.kernel}"
        found += [f"{where}: writes file {i} differently" for i in _unequal(report.written, files)]
        found += [f"{where}: reads other levels from file {i}" for i in _unequal(report.read, digests)]
        if not report.repacked:
            found.append(f"{where}: a file that was read is not written the same again")
    return found


def _unequal(found: tuple[str, ...], expected: tuple[str, ...]) -> list[int]:
    pairs = itertools.zip_longest(found, expected)
    return [index for index, (a, b) in enumerate(pairs) if a != b]


def run(
    model: str, images: Sequence[Path], qualities: Sequence[int], environments: Sequence[Environment]
) -> tuple[list[Report], list[str]]:
    """Run all environments. Return their results, and the differences."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digests = prepare(folder, model, images, qualities)
        reports = [report for one in environments for report in start(folder, model, one)]
        return reports, differences(folder, digests, reports)


def table(reports: Sequence[Report]) -> str:
    """Return a table with one line for each environment and kernel."""
    widths = [max(len(getattr(r, field)) for r in reports) for field in ("environment", "capability")]
    rows = [
        f"{r.environment:{widths[0]}}  {r.capability:{widths[1]}}  {r.kernel:8} {_short(r.written)}  "
        f"{_short(r.read)}  {r.seconds:7.2f}"
        for r in reports
    ]
    titles = f"{'environment':{widths[0]}}  {'in use':{widths[1]}}"
    head = f"{titles}  kernel   files         levels        seconds"
    return "\n".join([head, *rows])


def _short(digests: tuple[str, ...]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="photo", help="name of a model, or its .safetensors file")
    parser.add_argument("--qualities", type=int, nargs="+", default=[0, 50, 100])
    parser.add_argument("images", type=Path, nargs="+")
    options = parser.parse_args(arguments)

    import torch

    environments = cpu_environments(every_pair=True)
    if torch.cuda.is_available():
        environments.append(Environment(device="cuda"))
    reports, found = run(options.model, options.images, options.qualities, environments)
    print(table(reports))
    print("\n".join(found) or f"{len(reports)} times the same")
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        shared, chosen, described = sys.argv[2:]
        done = work(Path(shared), chosen, Environment(**json.loads(described)))
        print(json.dumps([dataclasses.asdict(report) for report in done]))
        sys.exit(0)
    sys.exit(main())
