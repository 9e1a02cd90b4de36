"""The shipped models keep their promises: old files decode to the same pixels, and new ones are as good.

The tests never write these files. `make_golden.py` is run by hand when a model is replaced.
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
    return {name: Codec.load(name) for name in MAKE.MODELS}


def test_every_shipped_model_has_its_golden_files() -> None:
    shipped = {card.name for card in bincodec.models() if card.path.parent.name == "weights"}
    assert shipped == set(MAKE.MODELS)
    names = {f"{m}-{p}-{q}" for m in MAKE.MODELS for p in MAKE.pictures() for q in MAKE.QUALITIES}
    assert set(GOLDEN) == names
    for ending in ("bld", "png"):
        assert {path.stem for path in FOLDER.glob(f"*.{ending}")} == names


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
