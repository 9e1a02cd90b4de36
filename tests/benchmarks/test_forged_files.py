"""The script that measures forged files makes the files that it describes, and a table of them."""

import subprocess
import sys
from pathlib import Path

import forged_files
import pytest

from bincodec import Codec, Corrupt

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"


def test_the_files_are_what_they_are_called() -> None:
    codec = Codec.load(str(TINY))
    assert codec.decompress(forged_files.CASES["zeros-256x256"](codec)).size == (256, 256)
    for name in ("raw-8000x8000", "endless-number", "long-post-filter"):
        with pytest.raises(Corrupt):
            codec.decompress(forged_files.CASES[name](codec))


def test_a_table() -> None:
    command = [sys.executable, forged_files.__file__, "--model", str(TINY), "nothing", "raw-8000x8000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    head, _, nothing, raw = done.stdout.splitlines()
    assert head == "| file | bytes | seconds | MB | what became of it |"
    assert nothing.startswith("| `nothing` | 51 | ")
    assert nothing.endswith(" | a picture of 16 x 16 |")
    assert "| Corrupt: layers 1 to 3 of tile 0" in raw


def test_a_case_that_does_not_exist() -> None:
    command = [sys.executable, forged_files.__file__, "--model", str(TINY), "nothing", "something"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no case is called something" in done.stderr
