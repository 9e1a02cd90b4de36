"""The shipped models keep their promises: old files decode to the same pixels, and new ones are as good.

The tests never write these files. `make_golden.py` is run by hand when a model is added.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec import Codec

FOLDER = Path(__file__).parent
GOLDEN = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
MORE_BYTES, FEWER_DECIBELS = 1.02, 0.05
"""How much worse a new file may be. On another machine, levels near a threshold may be different."""


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", FOLDER / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = script()


@pytest.fixture(scope="module")
def codecs() -> dict[str, Codec]:
    return {name: Codec.load(name) for name in MAKE.shipped()}


def test_every_shipped_model_has_its_golden_files() -> None:
    names = {f"{m}-{p}-{q}" for m in MAKE.shipped() for p in MAKE.pictures() for q in MAKE.QUALITIES}
    assert set(GOLDEN) == names
    for ending in ("bld", "png"):
        assert {path.stem for path in FOLDER.glob(f"*.{ending}")} == names


def test_files_of_a_model_that_has_them_are_not_written_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(MAKE, "FOLDER", tmp_path)
    monkeypatch.setattr(MAKE, "pictures", lambda: {"grey": np.full((20, 20, 3), 128, np.uint8)})
    kept = {name: {"bytes": 1, "psnr": 1.0} for name in GOLDEN if name.startswith("photo")}
    (tmp_path / "golden.json").write_text(json.dumps(kept), encoding="utf-8")
    MAKE.main()
    written = json.loads((tmp_path / "golden.json").read_text(encoding="utf-8"))
    missing = [name for name in MAKE.shipped() if not name.startswith("photo")]
    new = [f"{name}-grey-{quality}" for name in missing for quality in MAKE.QUALITIES]
    assert new
    assert written == kept | {name: written[name] for name in new}
    assert sorted(path.stem for path in tmp_path.glob("*.bld")) == new


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_decodes_to_its_pixels_and_packs_to_itself(name: str, codecs: dict[str, Codec]) -> None:
    file = (FOLDER / f"{name}.bld").read_bytes()
    shown = np.asarray(bincodec.decompress(file)).astype(int)
    expected = np.asarray(Image.open(FOLDER / f"{name}.png")).astype(int)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 1
    codec = codecs["-".join(name.split("-")[:2])]
    assert codec.pack(codec.unpack(file)) == file


@pytest.mark.parametrize("name", GOLDEN)
def test_a_new_file_is_as_small_and_as_good(name: str, codecs: dict[str, Codec]) -> None:
    *model, picture, quality = name.split("-")
    codec, pixels = codecs["-".join(model)], MAKE.pictures()[picture]
    file = codec.compress(pixels, int(quality), verify=False)
    assert len(file) <= MORE_BYTES * GOLDEN[name]["bytes"]
    reached = MAKE.psnr(pixels, np.asarray(codec.decompress(file)))
    assert reached >= GOLDEN[name]["psnr"] - FEWER_DECIBELS
