"""A network so small that a step takes milliseconds, and a folder of small photos."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bincodec.model.architecture import Architecture
from bincodec.train.lpips import SQUEEZENET
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import DataSettings, OptimiserSettings, RunSettings

SMALL = Architecture(
    layer_channels=(2, 3, 3),
    maximum_level=(6, 3, 2),
    layer_phases=(4, 2, 1),
    width_8=8,
    width_16=12,
    blocks_8=1,
    blocks_16=1,
    prior_width=16,
    prior_blocks=1,
)
BITS = dataclasses.replace(SMALL, maximum_level=(1, 1, 1), binariser="logistic")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread. The networks of the tests are so small that a second thread only costs time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small() -> Architecture:
    return SMALL


@pytest.fixture
def bits() -> Architecture:
    """Return the architecture of the paper: one threshold for each channel, and logistic noise."""
    return BITS


@pytest.fixture(scope="session")
def squeeze_file(
    draw_lpips_weights: Callable[..., dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write random weights of SqueezeNet."""
    path = tmp_path_factory.mktemp("lpips") / "squeeze.safetensors"
    save_file(draw_lpips_weights(SQUEEZENET.shapes), path)
    return path


@pytest.fixture(scope="session")
def photo_folder(write_photos: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three photos. The smallest is 48 pixels high."""
    folder = tmp_path_factory.mktemp("photos")
    parts = {
        "astronaut.png": (100, 0, 196, 80),
        "chelsea.png": (120, 60, 184, 124),
        "coffee.png": (200, 80, 280, 128),
    }
    write_photos(folder, parts)
    (folder / "notes.txt").write_text("not a photo", encoding="utf-8")
    return folder


@pytest.fixture
def make_settings(photo_folder: Path) -> Callable[..., RunSettings]:
    """Return settings of a run of a few steps. Keywords change those of the data."""

    def make(architecture: Architecture = SMALL, **data: Any) -> RunSettings:
        values: dict[str, Any] = {
            "photos": photo_folder,
            "valid": photo_folder,
            "batch": 4,
            "crop": 32,
        } | data
        return RunSettings(
            architecture,
            ObjectiveSettings(truncated_share=0.25),
            OptimiserSettings(warmup_steps=2),
            DataSettings(**values),
        )

    return make
