"""Prices of the same levels: the file, the integers, and a float prior that is known in closed form."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import bincodec
from bincodec.architecture import Architecture
from bincodec.eval import prior
from bincodec.train.objective import Objective, ObjectiveSettings

Crops = dict[str, NDArray[np.uint8]]


def write_flat_prior(path: Path, architecture: Architecture) -> None:
    """Weights whose prior says mu = 0, scale 1 whatever it is shown."""
    objective = Objective(architecture, ObjectiveSettings())
    assert isinstance(objective.prior, torch.nn.Module)
    state = {
        key: torch.zeros_like(value).half() if key.startswith("prior.head") else value.half()
        for key, value in objective.state_dict().items()
    }
    save_file(state, path, {"architecture": architecture.to_json()})


def test_the_float_prior_prices_every_level_once(codec: bincodec.Codec, crops: Crops, tmp_path: Path) -> None:
    architecture = codec.model.card.architecture
    write_flat_prior(tmp_path / "flat.safetensors", architecture)
    flat = prior.FloatPrior.load(tmp_path / "flat.safetensors", architecture)
    code = codec.encode(crops["eye"], 100)
    expected = 0.0
    for levels, top in zip(code.levels, code.maximum, strict=True):
        # P(L >= j) of a standard logistic at the thresholds, with certainty at both ends.
        at_least = np.r_[1, 1 / (1 + np.exp(np.arange(1, top + 1) - (top + 1) / 2)), 0]
        expected -= np.log2(at_least[:-1] - at_least[1:])[levels].sum()
    assert flat.bits(code) == pytest.approx(expected, rel=1e-5)


def test_a_row_agrees_with_the_codec(codec: bincodec.Codec, crops: Crops) -> None:
    row = prior.measure(codec, "eye", crops["eye"], 50)
    code = codec.encode(crops["eye"], 50)
    assert row.file_bytes == len(codec.pack(code))
    assert row.integer_bits == pytest.approx(codec.cost(code).sum())
    # 2 units of 0..6, 3 of 0..3 and 4 of 0..1 on a grid of 4 x 3 sites.
    assert row.raw_bits == 12 * (2 * 3 + 3 * 2 + 4 * 1)
    assert row.pixels == 64 * 48
    assert row.float_bits is None
    assert row.lost_percent is None
    assert row.overhead_bytes <= row.budget_bytes


def test_the_budget_and_the_loss() -> None:
    row = prior.PriorRow("a", 50, 1000, 1100, 16000, 8000.0, 7920.0)
    assert row.overhead_bytes == 100
    assert row.budget_bytes == 97
    assert row.lost_percent == pytest.approx(100 * (8000 / 7920 - 1))


def test_the_table_names_mean_and_worst() -> None:
    rows = [prior.PriorRow("a", 50, 1000, 1050, 16000, 8000.0, 8000 / 1.01)]
    rows.append(prior.PriorRow("b", 50, 1000, 1200, 16000, 8000.0, 8000 / 1.03))
    rows.append(dataclasses.replace(rows[0], quality=90))
    at_50, at_90, total = prior.text(rows).splitlines()[2:]
    assert " ".join(at_50.split()) == "50 16.0000 7.8439 8.0000 9.0000 +2.000 +3.000 125.0 200.0 1"
    assert at_90.split()[-1] == "0"
    assert total.split()[0] == "all"
    without = prior.text([dataclasses.replace(row, float_bits=None) for row in rows])
    assert "8.0000" in without
    assert "+" not in without


def test_wrong_weights_are_refused(codec: bincodec.Codec, tmp_path: Path) -> None:
    architecture = codec.model.card.architecture
    write_flat_prior(tmp_path / "other.safetensors", dataclasses.replace(architecture, prior_blocks=1))
    with pytest.raises(bincodec.WrongModel, match="another architecture"):
        prior.FloatPrior.load(tmp_path / "other.safetensors", architecture)
    # A model file carries integers under the prior's names.
    with pytest.raises(bincodec.Unsupported, match="float weights"):
        prior.FloatPrior.load(codec.model.card.path, architecture)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(bincodec.Unsupported, match="not a readable weights file"):
        prior.FloatPrior.load(tmp_path / "text.safetensors", architecture)
