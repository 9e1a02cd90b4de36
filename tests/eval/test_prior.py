"""Rates of the same levels: files, integers in fewer passes, frequencies, and known float priors."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import bincodec
from bincodec.bitstream.levels import level_bits
from bincodec.code import BinaryCode
from bincodec.coding import passes
from bincodec.coding.order import merged, phase_map
from bincodec.eval import prior
from bincodec.eval.float_prior import FloatPrior
from bincodec.model.architecture import Architecture
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.validate import layer_bits

Crops = dict[str, NDArray[np.uint8]]


def write_float_prior(path: Path, architecture: Architecture, *, flat: bool) -> None:
    """Write random weights, or flat ones that always predict mu = 0 and scale 1."""
    torch.manual_seed(3)
    objective = Objective(architecture, ObjectiveSettings())
    state = {
        key: torch.zeros_like(value).half() if flat and key.startswith("prior.head") else value.half()
        for key, value in objective.state_dict().items()
    }
    save_file(state, path, {"architecture": architecture.to_json()})


@pytest.fixture(scope="module")
def code(codec: bincodec.Codec, crops: Crops) -> BinaryCode:
    return codec.encode(crops["eye"], 100)


def test_the_float_prior_counts_every_level_once(
    codec: bincodec.Codec, code: BinaryCode, tmp_path: Path
) -> None:
    architecture = codec.model.card.architecture
    write_float_prior(tmp_path / "flat.safetensors", architecture, flat=True)
    flat = FloatPrior.load(tmp_path / "flat.safetensors", architecture)
    expected = 0.0
    for levels, top in zip(code.levels, code.maximum, strict=True):
        # This is P(L >= j) of a standard logistic at the thresholds, with certainty at both ends.
        at_least = np.r_[1, 1 / (1 + np.exp(np.arange(1, top + 1) - (top + 1) / 2)), 0]
        expected -= np.log2(at_least[:-1] - at_least[1:])[levels].sum()
    for groups in (None, 1, 3):
        assert flat.bits(code, groups) == pytest.approx(expected, rel=1e-5)


def test_the_float_prior_charges_what_training_does(
    codec: bincodec.Codec, code: BinaryCode, tmp_path: Path
) -> None:
    architecture = codec.model.card.architecture
    write_float_prior(tmp_path / "random.safetensors", architecture, flat=False)
    found = FloatPrior.load(tmp_path / "random.safetensors", architecture)
    centred = [levels - np.float32(top / 2) for levels, top in zip(code.levels, code.maximum, strict=True)]
    quality = torch.tensor([code.quality / 100])
    expected = layer_bits(found.objective, torch.from_numpy(np.concatenate(centred))[None], quality).sum()
    assert found.bits(code) == pytest.approx(float(expected), rel=1e-6)
    assert found.bits(code, 7) == found.bits(code)
    assert found.bits(code, 1) != pytest.approx(found.bits(code), rel=1e-6)


def test_all_passes_are_what_the_file_is_coded_with(codec: bincodec.Codec, code: BinaryCode) -> None:
    every = sum(codec.model.card.architecture.layer_phases)
    assert prior.integer_bits(codec, code, every) == codec.cost(code).sum()
    assert prior.integer_bits(codec, code, 1) != codec.cost(code).sum()
    with pytest.raises(ValueError, match="8 groups"):
        prior.integer_bits(codec, code, every + 1)


def test_tiles_are_measured_as_they_are_coded(codec: bincodec.Codec, tmp_path: Path) -> None:
    """Tiles are measured separately: another tile is no context for either prior."""
    architecture, every = codec.model.card.architecture, sum(codec.model.card.architecture.layer_phases)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 300, 3), np.uint8)
    code = dataclasses.replace(codec.encode(pixels, 100), tile_side=16)
    write_float_prior(tmp_path / "random.safetensors", architecture, flat=False)
    found = FloatPrior.load(tmp_path / "random.safetensors", architecture)
    alone = [
        dataclasses.replace(
            code, levels=code.levels_of(tile), width=16 * tile.shape[1], height=16 * tile.shape[0]
        )
        for tile in code.tiles
    ]
    assert [part.grid for part in alone] == [(3, 9), (3, 10)]
    for groups in (1, every):
        expected = sum(prior.integer_bits(codec, part, groups) for part in alone)
        assert prior.integer_bits(codec, code, groups) == pytest.approx(expected, rel=1e-12)
        assert found.bits(code, groups) == pytest.approx(sum(found.bits(part, groups) for part in alone))
    whole = dataclasses.replace(code, tile_side=64)
    assert prior.integer_bits(codec, whole, every) != pytest.approx(expected, rel=1e-6)
    bits, data = codec.cost(code).sum(), codec.pack(code)
    # Levels in another order, or with other context, would not come this near.
    assert bits / 8 < len(data) < 1.001 * bits / 8 + 130


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_a_group_is_predicted_from_the_groups_before_it(
    codec: bincodec.Codec, code: BinaryCode, groups: int
) -> None:
    """The result is compared with context laid out by hand, group by group."""
    architecture, (height, width) = codec.model.card.architecture, code.grid
    context = passes.Context(architecture, height, width)
    expected = 0.0
    for group in merged(architecture.layer_phases, groups):
        unseen = []
        for layer, phase in group:
            positions = np.flatnonzero(phase_map(height, width, architecture.layer_phases[layer]) == phase)
            mu, scale = codec.model.prior.predict(
                context.values, code.quality, layer, torch.from_numpy(positions)
            )
            levels = code.levels[layer].reshape(len(mu), -1)[:, positions]
            expected += level_bits(levels, mu.numpy(), scale.numpy(), code.maximum[layer]).sum()
            unseen.append((layer, positions, levels))
        for step in unseen:
            context.add(*step)
    assert prior.integer_bits(codec, code, groups) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [((4, 2, 1), (1, 2, 4, 7)), ((4, 4, 2, 2), (1, 2, 4, 8, 12)), ((4, 4), (1, 2, 4, 8)), ((1,), (1,))],
)
def test_the_orders_end_with_all_passes_of_the_model(
    phases: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    one = (1,) * len(phases)
    architecture = Architecture(layer_channels=one, maximum_level=one, layer_phases=phases)
    assert prior.orders(architecture) == expected


def test_frequencies_count_levels_by_how_often_they_come(codec: bincodec.Codec, code: BinaryCode) -> None:
    rng = np.random.default_rng(5)
    drawn = tuple(rng.integers(0, top + 1, part.shape, dtype=np.uint8) // 2
                  for part, top in zip(code.levels, code.maximum, strict=True))  # fmt: skip
    other = dataclasses.replace(code, levels=drawn)
    frequencies = prior.Frequencies.measure([code, other])
    expected = 0.0
    for layer in range(code.layers):
        for channel in range(len(code.levels[layer])):
            both = np.concatenate([c.levels[layer][channel].ravel() for c in (code, other)])
            for level in code.levels[layer][channel].ravel():
                expected -= np.log2((both == level).mean())
    assert frequencies.bits(code) == pytest.approx(expected)
    # For one code alone, they are its entropy, which is the minimum for static frequencies.
    assert prior.Frequencies.measure([code]).bits(code) <= frequencies.bits(code)


def test_frequencies_of_a_constant_cost_nothing(code: BinaryCode) -> None:
    still = dataclasses.replace(code, levels=tuple(np.zeros_like(part) for part in code.levels))
    assert prior.Frequencies.measure([still]).bits(still) == 0


def test_a_row_agrees_with_the_codec(codec: bincodec.Codec, crops: Crops) -> None:
    (row,) = prior.measure_all(codec, {"eye": crops["eye"]}, [50])
    code = codec.encode(crops["eye"], 50)
    assert row.file_bytes == len(codec.pack(code))
    assert row.extra_bytes == row.file_bytes - len(codec.pack(dataclasses.replace(code, extras=())))
    assert row.integer_bits == codec.cost(code).sum()
    assert list(row.integer_by_passes) == [1, 2, 4, 7]
    # There are 2 channels of 0..6, 3 of 0..3 and 4 of 0..1 on a grid of 4 x 3 positions.
    assert row.raw_bits == 12 * (2 * 3 + 3 * 2 + 4 * 1)
    assert row.frequency_bits == prior.Frequencies.measure([code]).bits(code)
    assert row.pixels == 64 * 48
    assert row.float_bits is None
    assert row.lost_percent is None
    assert row.overhead_bytes <= row.budget_bytes


def test_frequencies_are_measured_by_quality(codec: bincodec.Codec, crops: Crops) -> None:
    rows = prior.measure_all(codec, crops, [0, 100])
    assert [(row.image, row.quality) for row in rows] == [(i, q) for q in (0, 100) for i in crops]
    for quality in (0, 100):
        codes = [codec.encode(pixels, quality) for pixels in crops.values()]
        expected = [prior.Frequencies.measure(codes).bits(code) for code in codes]
        assert [row.frequency_bits for row in rows if row.quality == quality] == expected


ROW = prior.PriorRow(
    "a", 50, 1000, 1050, 16000, 12000.0, {1: 10000.0, 2: 9000.0, 3: 8000.0}, {1: 9900.0, 2: 8900.0, 3: 7920.0}
)


def test_the_budget_and_the_loss() -> None:
    row = dataclasses.replace(ROW, file_bytes=1100)
    assert row.overhead_bytes == 100
    assert dataclasses.replace(row, extra_bytes=30).overhead_bytes == 70
    assert row.budget_bytes == 97
    assert row.lost_percent == pytest.approx(100 * (8000 / 7920 - 1))


def test_the_tables_say_what_is_saved_and_by_what() -> None:
    worse = dataclasses.replace(
        ROW, image="b", file_bytes=1200, float_by_passes={1: 1.0, 2: 1.0, 3: 8000 / 1.03}
    )
    rows = [ROW, worse, dataclasses.replace(ROW, quality=90)]
    lines = [" ".join(line.split()) for line in prior.text(rows).splitlines()]
    assert "over 2 images" in lines[0]
    assert "3 in the file" in lines[0]
    assert lines[1:3] == [
        "quality raw frequencies 1 2 3 file",
        "50 16.0000 12.0000 10.0000 9.0000 8.0000 9.0000",
    ]
    assert [line.split()[0] for line in lines[3:5]] == ["90", "all"]
    assert lines[7] == "50 25.0 16.7 10.0 11.1 50.0 33.3"
    assert lines[12] == "50 125.0 200.0 1"
    assert lines[17].endswith("+2.005 +3.000")
    # A picture of one position costs no bits by its own frequencies.
    nothing = prior.text([dataclasses.replace(ROW, frequency_bits=0.0)])
    assert " ".join(nothing.splitlines()[5].split()) == "50 100.0 - 10.0 11.1 50.0 -"
    without = prior.text([dataclasses.replace(row, float_by_passes={}) for row in rows[:2]])
    assert "float" not in without
    assert "all" not in [line.split()[0] for line in without.splitlines()]


def test_the_json_is_tidy(codec: bincodec.Codec) -> None:
    content = json.loads(
        json.dumps(prior.as_json([ROW, dataclasses.replace(ROW, float_by_passes={})], codec))
    )
    assert content["passes"] == 7
    assert [row["float_bits"] for row in content["rows"]] == [7920.0, None]
    assert content["rows"][0]["integer_bits"] == 8000.0
    assert content["orders"][1] == {
        "image": "a", "quality": 50, "prior": "integer", "passes": 2, "bits": 9000.0
    }  # fmt: skip
    assert [row["prior"] for row in content["orders"]] == ["integer"] * 3 + ["float"] * 3 + ["integer"] * 3


def test_wrong_weights_are_refused(codec: bincodec.Codec, tmp_path: Path) -> None:
    architecture = codec.model.card.architecture
    other = dataclasses.replace(architecture, prior_blocks=1)
    write_float_prior(tmp_path / "other.safetensors", other, flat=True)
    with pytest.raises(bincodec.WrongModel, match="another architecture"):
        FloatPrior.load(tmp_path / "other.safetensors", architecture)
    with pytest.raises(bincodec.Unsupported, match="float weights that its integers came from"):
        FloatPrior.load(codec.model.card.path, architecture)
    save_file({"prior.stem.bias": torch.zeros(3)}, tmp_path / "few.safetensors")
    with pytest.raises(bincodec.Unsupported, match="float weights"):
        FloatPrior.load(tmp_path / "few.safetensors", architecture)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(bincodec.Unsupported, match="not a readable weights file"):
        FloatPrior.load(tmp_path / "text.safetensors", architecture)
