"""A folder of small pictures, one of which is none, and options that make a batch cheap."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
PICTURES = ("a.png", "b.jpg", "below/c.png", "below/deep/d.png")


def draw(path: Path, seed: int = 0) -> None:
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1)).save(path)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `photos`, in the current one: PICTURES, a text, and what hides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BINCODEC_MODELS", str(TINY.parent))
    for seed, name in enumerate(PICTURES):
        draw(tmp_path / "photos" / name, seed)
    draw(tmp_path / "photos" / ".hidden.png")
    (tmp_path / "photos" / "readme.txt").write_text("no picture")
    return Path("photos")
