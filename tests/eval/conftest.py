"""Small crops of the example photo, and the tiny model as a codec."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import bincodec

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"


@pytest.fixture(scope="session")
def tiny() -> Path:
    return TINY


@pytest.fixture(scope="session")
def codec() -> bincodec.Codec:
    return bincodec.Codec.load(str(TINY))


@pytest.fixture(scope="session")
def crops() -> dict[str, NDArray[np.uint8]]:
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        photo = image.convert("RGB")
    boxes = {"eye": (150, 60, 214, 108), "fur": (300, 150, 348, 214)}
    return {name: np.asarray(photo.crop(box)) for name, box in boxes.items()}


@pytest.fixture
def photos(crops: dict[str, NDArray[np.uint8]], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in crops]
    for path, pixels in zip(paths, crops.values(), strict=True):
        Image.fromarray(pixels).save(path)
    return paths
