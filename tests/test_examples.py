"""`make demo`, less its set-up."""

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

import bincodec

ROOT = Path(__file__).resolve().parents[1]


def test_the_demo_leaves_both_files_and_says_what_it_took(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "demo.bld").stat().st_size
    assert f"demo.bld: {size} bytes, {8 * size / (451 * 300):.3f} bits per pixel" in done.stdout
    assert re.search(r"PSNR \d+\.\d\d dB", done.stdout)
    assert re.search(r"\d+\.\d\d to compress and verify, \d+\.\d\d to decompress", done.stdout)
    assert (bincodec.read_header(tmp_path / "demo.bld").width, size > 36) == (451, True)
    with Image.open(tmp_path / "demo.png") as image:
        assert image.size == (451, 300)
