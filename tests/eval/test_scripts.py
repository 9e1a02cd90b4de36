"""The scripts around the package run, and show what they say they show."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import bincodec

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location(Path(name).stem, ROOT / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up by name.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_comparison_shows_four_pictures_of_the_same_bytes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = script("examples/comparison.py", monkeypatch)
    out = tmp_path / "comparison.png"
    monkeypatch.setattr(
        sys, "argv", ["comparison.py", "--bytes", "9000", "--model", str(tiny), "-o", str(out)]
    )
    comparison.main()
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown[:4]] == ["Original", "JPEG", "WebP", "bincodec"]
    sizes = [int(line.split()[1].replace(",", "")) for line in shown[1:4]]
    assert all(size <= 9000 for size in sizes)
    assert min(sizes[:2]) > 8500
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] == 1800
    # The original stands in the first panel, three times as large.
    photo = comparison.skimage.data.coffee()
    top = comparison.GAP // 2 + comparison.LABEL
    panel = pixels[top : top + 3 * 192 : 3, comparison.GAP : comparison.GAP + 3 * 288 : 3]
    assert np.array_equal(panel, photo[70 : 70 + 192, 180 : 180 + 288])


def test_difficult_content_stays_within_its_bound(
    codec: bincodec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    difficult = script("benchmarks/difficult.py", monkeypatch)
    shapes = {name: make().shape for name, make in difficult.CONTENT.items()}
    assert shapes["1×1"] == (1, 1, 3)
    assert shapes["1×4000"] == (1, 4000, 3)
    assert {make().dtype for make in difficult.CONTENT.values()} == {np.dtype(np.uint8)}
    rows = list(difficult.lines("noise", difficult.noise()[:64, :64], codec))
    assert [row.split("|")[2].strip() for row in rows] == ["0", "50", "100"]
    assert not any("over" in row for row in rows)
    assert {row.count("|") for row in rows} == {line.count("|") for line in difficult.HEAD}
