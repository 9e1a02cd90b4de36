"""What a CUDA device must pass: the same integers, files and samples as on the CPU, and working training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photos

from bincodec import BinaryCode, Codec
from bincodec.model.architecture import Architecture
from bincodec.model.kernels import IntegerPrior, Kernel
from bincodec.model.saturation import saturated_context
from bincodec.train.data import CropSampler, read_photos
from bincodec.train.loop import Stage, train_stage
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import DataSettings, OptimiserSettings, RunSettings
from bincodec.train.trainer import Trainer

DEVICE = "cuda"
ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "tests" / "models" / "tiny-1.safetensors")
KERNELS: tuple[Kernel, ...] = ("auto", "matmul", "float64")
"""The kernels for CUDA, without "conv", as cuDNN chooses its algorithms itself. "int64" is the reference."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module", params=["tiny", "photo"])
def codecs(request: pytest.FixtureRequest) -> tuple[Codec, Codec]:
    """Return the same model on the CPU and on the device."""
    name = {"tiny": TINY, "photo": "photo"}[request.param]
    return Codec.load(name), Codec.load(name, DEVICE)


def crop(top: int, left: int, height: int, width: int) -> Image.Image:
    return Image.fromarray(photos.astronaut()[top : top + height, left : left + width])


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        *((TINY, grid) for grid in [(1, 1), (1, 7), (9, 11), (33, 48)]),
        # The reference is slow for larger networks.
        *((name, (5, 4)) for name in ("photo", "clothing")),
    ],
)
def test_every_kernel_gives_the_integers_of_int64(name: str, grid: tuple[int, int]) -> None:
    model = Codec.load(name).model
    exact, *tested = (
        IntegerPrior(model.card.architecture, model.prior.network, device, kernel)
        for device, kernel in [("cpu", "int64"), *((DEVICE, kernel) for kernel in KERNELS)]
    )
    positions = torch.arange(grid[0] * grid[1])
    for quality, context in zip((0, 50, 100), contexts(model.card.architecture, *grid), strict=True):
        expected = exact.predict(context, quality, None, positions)
        for prior in tested:
            found = prior.predict(context, quality, None, positions)
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def contexts(architecture: Architecture, height: int, width: int) -> list[torch.Tensor]:
    """Return a context in which nothing is known, half of a saturated one, and a saturated one."""
    saturated = saturated_context(architecture, height, width)
    half = torch.rand(saturated.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    return [0 * saturated, saturated * half, saturated]


def test_the_device_chooses_a_kernel_that_no_library_replaces(codecs: tuple[Codec, Codec]) -> None:
    assert codecs[1].model.prior.kernel in ("matmul", "float64")


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize("size", [(1, 1), (61, 90), (112, 144)])
def test_a_file_packed_there_is_the_one_packed_here(
    codecs: tuple[Codec, Codec], quality: int, size: tuple[int, int]
) -> None:
    here, there = codecs
    # Both use the same code. The encoder's network rounds, so another device may choose another level.
    code = here.encode(crop(100, 180, *size), quality)
    data = here.pack(code)
    assert there.pack(code, verify=True) == data
    assert there.unpack(data).digest() == code.digest()


def test_tiles_packed_there_are_those_packed_here(codecs: tuple[Codec, Codec]) -> None:
    here, there = codecs
    code = dataclasses.replace(here.encode(crop(100, 100, 61, 300), 50), tile_side=16)
    assert len(code.tiles) == 2
    data = here.pack(code)
    assert there.pack(code, verify=True) == data
    assert there.unpack(data).digest() == code.digest()


def test_a_region_is_a_part_of_the_picture_there_too(codecs: tuple[Codec, Codec]) -> None:
    _, there = codecs
    data = there.compress(crop(100, 100, 61, 300))
    whole = np.asarray(there.decompress(data), np.int16)
    part = np.asarray(there.decompress(data, region=(120, 7, 90, 50)), np.int16)
    assert np.abs(part - whole[7:57, 120:210]).max() <= 1


def test_a_file_written_there_is_read_here(codecs: tuple[Codec, Codec]) -> None:
    here, there = codecs
    code = there.encode(crop(100, 180, 61, 90), 40)
    found = here.unpack(there.pack(code))
    assert found.digest() == code.digest()
    shown = [np.asarray(codec.decode(found), np.int16) for codec in codecs]
    assert shown[0].shape == (61, 90, 3)
    assert np.abs(shown[0] - shown[1]).mean() < 0.1, "pixels may differ by rounding, and by no more"


def digests(codes: list[BinaryCode]) -> list[str]:
    return [code.digest() for code in codes]


@pytest.mark.parametrize("sampler", ["autoregressive", "diffusion"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_samples_are_the_same(codecs: tuple[Codec, Codec], sampler: str, temperature: float) -> None:
    found = [
        digests(codec.sample(2, (70, 50), seed=5, sampler=sampler, temperature=temperature, steps=4))  # type: ignore[arg-type]
        for codec in codecs
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_samples_of_a_class_are_the_same(bits_model: Path, guidance: float) -> None:
    found = [
        digests(
            Codec.load(str(bits_model), device).sample(3, seed=1, label="cat", guidance=guidance, steps=8)
        )
        for device in ("cpu", DEVICE)
    ]
    assert found[0] == found[1]


def test_what_is_missing_is_completed_the_same_way(codecs: tuple[Codec, Codec]) -> None:
    code = codecs[0].encode(crop(100, 180, 61, 90), 60)
    found = digests([codec.complete(code, 1, seed=3).code for codec in codecs])
    assert found[0] == found[1]


def test_a_training_step_runs_and_moves_every_network(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        crop(100 * number, 180, 96, 96).save(folder / f"{number}.png")
    architecture = Architecture(
        layer_channels=(2, 3),
        maximum_level=(6, 3),
        layer_phases=(4, 2),
        width_8=8,
        width_16=12,
        blocks_8=1,
        blocks_16=1,
        prior_width=16,
        prior_blocks=1,
    )
    data = DataSettings(photos=folder, valid=folder, batch=4, crop=32)
    settings = RunSettings(architecture, ObjectiveSettings(), OptimiserSettings(warmup_steps=1), data)
    trainer = Trainer(settings, tmp_path, torch.device(DEVICE))
    before = {name: value.detach().clone() for name, value in trainer.objective.named_parameters()}
    sampler = CropSampler(read_photos(folder), data.crops)
    train_stage(trainer, sampler, Stage(steps=2), workers=1, resumable=False)
    assert trainer.step == 2
    after = dict(trainer.objective.named_parameters())
    assert all(value.device.type == DEVICE and value.isfinite().all() for value in after.values())
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    for part in ("autoencoder.encoder", "autoencoder.decoder", "prior"):
        assert any(name.startswith(part) for name in moved), part
