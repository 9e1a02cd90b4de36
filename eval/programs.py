"""Metrics that other programs compute from two files: SSIMULACRA2 and Butteraugli."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from bincodec.errors import BincodecError
from bincodec.eval.alike import require_alike
from bincodec.eval.errors import NotInstalled

if TYPE_CHECKING:
    from bincodec.eval.alike import Measure
    from bincodec.eval.formats import Pixels

SMALLEST_SIDE = 8
"""The smallest side of a picture. For smaller ones, one program measures nothing and the other prints 0."""

SECONDS = 600
"""The longest time that a program may take for one pair of pictures."""


class ProgramFailed(BincodecError):
    """A program that measures a metric did not run, or did not print a number."""


@dataclass(frozen=True)
class Program:
    """A metric that an executable prints when given two PNG files.

    Args:
        path: the path of the executable.
        pattern: a regular expression for its output. Its one group is the value.
    """

    path: str
    pattern: str

    def __call__(self, reference: Pixels, decoded: Pixels) -> float:
        """Return the value for two uint8 (H, W, 3) pictures, or nan if a side is below 8 pixels.

        Raises:
            ValueError: if they are not two such pictures of the same shape.
            ProgramFailed: if the program prints no value. The message contains its output.
        """
        require_alike(reference, decoded)
        if min(reference.shape[:2]) < SMALLEST_SIDE:
            return math.nan
        with tempfile.TemporaryDirectory(prefix="bincodec-") as folder:
            names = [str(Path(folder, name)) for name in ("original.png", "decoded.png")]
            for name, pixels in zip(names, (reference, decoded), strict=True):
                Image.fromarray(pixels).save(name, compress_level=1)
            return self._value(names)

    def _value(self, names: list[str]) -> float:
        try:
            done = subprocess.run(
                [self.path, *names], capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"{self.path} could not be run: {error}"
            raise ProgramFailed(msg) from error
        found = re.search(self.pattern, done.stdout, re.MULTILINE)
        if done.returncode != 0 or found is None:
            said = " ".join((done.stderr or done.stdout).split())[:200] or "nothing"
            msg = f"{self.path} ended with exit code {done.returncode} and printed no value: {said}"
            raise ProgramFailed(msg)
        return float(found[1])


_NUMBER = r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"


def ssimulacra2() -> tuple[str, Measure]:
    """Return SSIMULACRA2 as the program `ssimulacra2` of its authors, a part of libjxl, computes it.

    Raises:
        NotInstalled: if the program is missing.
    """
    path = _which("ssimulacra2", "SSIMULACRA2", "a tool of libjxl")
    return f"program ssimulacra2 {_mark(path)}", Program(path, rf"^{_NUMBER}\s*$")


def butteraugli() -> tuple[str, Measure]:
    """Return the 3-norm of Butteraugli as the program `butteraugli_main` of libjxl prints it, for 80 nits.

    The program also prints a maximum. It belongs to a single spot, and a mean over the picture says more
    about a codec.

    Raises:
        NotInstalled: if the program is missing.
    """
    path = _which("butteraugli_main", "Butteraugli", "a tool of libjxl, in Debian's libjxl-devtools")
    return f"program butteraugli_main {_mark(path)}: 3-norm, 80 nits", Program(
        path, rf"^3-norm: {_NUMBER}\s*$"
    )


def _mark(path: str) -> str:
    """Return a mark of the program's file. Another version may measure other values."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]


def _which(program: str, metric: str, where: str) -> str:
    path = shutil.which(program)
    if path is None:
        msg = f"{metric} needs the program {program} on PATH ({where})"
        raise NotInstalled(msg)
    return path
