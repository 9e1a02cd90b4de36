"""The scripts around the package run, and show what they claim to show."""

import hashlib
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
    # Dataclasses look up their module by name.
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
    # The original is in the first panel, three times as large.
    photo = comparison.skimage.data.coffee()
    top = comparison.GAP // 2 + comparison.LABEL
    panel = pixels[top : top + 3 * 192 : 3, comparison.GAP : comparison.GAP + 3 * 288 : 3]
    assert np.array_equal(panel, photo[70 : 70 + 192, 180 : 180 + 288])


def test_comparison_ignores_no_codec_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = script("examples/comparison.py", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["comparison.py", "--codecs", "jpeg", "avif"])
    with pytest.raises(SystemExit):
        comparison.main()
    assert capsys.readouterr().err.endswith("error: --codecs needs --rates\n")


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


def test_sampling_is_timed_and_its_codes_named(
    tiny: Path,
    bits_model: Path,
    codec: bincodec.Codec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sampling = script("benchmarks/sampling.py", monkeypatch)
    sampling.main(["--small", str(bits_model), "--large", str(tiny), "--side", "50", "--runs", "1"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert {row.count("|") for row in rows} == {head.count("|")}
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[0] for row in cells] == [
        "16 of 48 x 32, steps 16, sampler diffusion, guidance 0.0",
        "16 of 48 x 32, steps 16, sampler diffusion",
        "1 of 50 x 50",
    ]
    digest = hashlib.sha256(codec.sample(size=(50, 50))[0].digest().encode()).hexdigest()
    assert cells[2][4] == digest[:16]


def test_upscaling_measures_detail(codec: bincodec.Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaling = script("benchmarks/upscaling.py", monkeypatch)
    original = upscaling.of_even_sides(upscaling.skimage.data.chelsea()[100:165], 96)
    assert original.shape == (64, 96, 3)
    ways = dict(upscaling.ways(codec, 80))
    layers = codec.model.card.architecture.layers
    assert len(ways) == 5 + (layers - 1) * (4 + len(upscaling.TEMPERATURES)) + len(upscaling.STRENGTHS)
    big = upscaling.enlarged(original)
    for way in ways.values():
        found = way(original, big)
        assert (found.shape, found.dtype) == (original.shape, np.uint8)

    def numbers(way: object) -> list[float]:
        return [float(cell) for cell in upscaling.line("way", way, [original]).split("|")[2:-1]]

    assert numbers(lambda original, big: original)[1:] == [1.0, 1.0]
    bicubic, corrected = numbers(ways["bicubic"]), numbers(ways["bicubic, corrected"])
    assert bicubic[0] < corrected[0]
    assert bicubic[1] < corrected[1] < 1

    def halved(pixels: np.ndarray) -> np.ndarray:
        return upscaling.resized(pixels, 48, 32, upscaling.BICUBIC).astype(float)

    # Halved, the corrected picture must be nearer to the halved original.
    errors = [
        np.abs(halved(ways[name](original, big)) - halved(original)).mean()
        for name in ("bicubic", "bicubic, corrected")
    ]
    assert errors[1] < 0.2 * errors[0]
