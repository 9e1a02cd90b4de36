"""The variants of the ablations train a few steps, and their rates are those that they claim."""

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from bincodec.coding import bernoulli
from bincodec.model.architecture import Architecture
from bincodec.train.objective import Objective
from bincodec.train.settings import RunSettings
from bincodec.train.validate import layer_bits

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = Architecture((4, 8), (30, 30), (1, 1), width_8=32, width_16=16, prior_width=8)
QUALITY = torch.tensor([0.5])


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ablation

    monkeypatch.setattr(ablation, "VALIDATION_QUALITIES", ablation.SHOWN)
    return ablation


@torch.no_grad()
def rate(objective: Objective, centred: torch.Tensor) -> float:
    """Return bits per pixel as training would estimate them."""
    rng = np.random.default_rng(0)
    bits, _ = objective._rate(centred, centred, centred, 1.0, QUALITY, rng)
    return float(bits.mean())


def some_levels(shape: Architecture) -> torch.Tensor:
    return torch.randint(-2, 3, (1, shape.channels, 4, 6), generator=torch.manual_seed(5)).float()


@pytest.mark.parametrize(
    "name", ["mixtures of two logistics", "two stages", "three passes a crop", "stride 8, 64 channels"]
)
def test_a_variant_trains(
    ablation: ModuleType, name: str, make_settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    own = ablation.VARIANTS[name]
    small = dataclasses.replace(own, changes={})
    before = bernoulli.level_cost
    ablation.train(small, make_settings(SHAPE), tmp_path, 4)
    assert bernoulli.level_cost is before
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert row["steps"] == 4
    assert all(math.isfinite(p["bits_per_pixel"]) and p["psnr"] > 5 for p in row["validation"])
    assert ablation.finished(tmp_path) == row


def test_all_layers_at_a_phase_each_are_the_whole_rate(
    ablation: ModuleType, make_settings: Callable[..., RunSettings]
) -> None:
    """With one phase for each layer, the estimate is not random."""
    objective = ablation.networks.RateFromAllLayers(make_settings(SHAPE))
    centred = some_levels(SHAPE)
    pixels = centred[0, 0].numel() * 256
    assert rate(objective, centred) == pytest.approx(
        float(layer_bits(objective, centred, QUALITY).sum()) / pixels, rel=1e-5
    )


def test_a_position_of_stride_8_has_64_pixels(
    ablation: ModuleType, make_settings: Callable[..., RunSettings]
) -> None:
    shape = dataclasses.replace(SHAPE, layer_channels=(8,), maximum_level=(30,), layer_phases=(1,))
    objective = ablation.networks.StrideEight(make_settings(shape))
    centred = some_levels(shape)
    assert objective.autoencoder.analyse(torch.zeros(1, 3, 32, 48), QUALITY).shape == centred.shape
    assert rate(objective, centred) == pytest.approx(
        float(layer_bits(objective, centred, QUALITY).sum()) / (centred[0, 0].numel() * 64), rel=1e-5
    )


def test_a_mixture_shares_out_all_probability(ablation: ModuleType) -> None:
    mu = torch.tensor([0.4, -3.0])
    scale = torch.tensor([-1.0, 0.5, 0.3])
    levels = torch.arange(7) - 3.0
    with ablation.networks.mixture_costs():
        bits = bernoulli.level_cost(levels, mu.expand(7, 2), scale.expand(7, 3), torch.tensor([6.0]))
        mean = bernoulli.expected_centred(mu, scale, 6)
    share = torch.exp2(-bits)
    assert float(share.sum()) == pytest.approx(1, abs=1e-5)
    assert float((share * levels).sum()) == pytest.approx(float(mean), abs=1e-4)


def test_a_mixture_of_which_one_has_no_share_is_the_other(ablation: ModuleType) -> None:
    levels = torch.tensor([-1.0, 0.0, 2.0])
    alone = bernoulli.level_cost(levels, torch.tensor(0.3), torch.tensor(-0.5), torch.tensor(6.0))
    with ablation.networks.mixture_costs():
        mixed = bernoulli.level_cost(
            levels,
            torch.tensor([0.3, -2.0]).expand(3, 2),
            torch.tensor([-0.5, 1.0, -40.0]).expand(3, 3),
            torch.tensor([6.0]),
        )
    torch.testing.assert_close(mixed, alone)


def test_the_first_of_two_stages_sees_no_context(
    ablation: ModuleType, make_settings: Callable[..., RunSettings]
) -> None:
    """The bits of a layer do not depend on another layer's levels."""
    objective = ablation.networks.RateWithoutContext(make_settings(SHAPE))
    centred = some_levels(SHAPE)
    first = slice(0, 4)
    other = centred.clone()
    other[:, first] = 0
    with torch.no_grad():
        mu, log_scale = objective.prior(0 * centred, torch.zeros(1, 2, 4, 6), QUALITY)
    cost = functools.partial(
        bernoulli.level_cost, mu=mu, log_scale=log_scale, maximum=objective.autoencoder.maximum
    )
    difference = float((cost(centred) - cost(other))[:, first].sum()) / (24 * 256)
    assert rate(objective, centred) - rate(objective, other) == pytest.approx(difference, abs=1e-6)
    assert difference > 0


def test_the_table(
    ablation: ModuleType,
    make_settings: Callable[..., RunSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ablation, "VARIANTS", {"base": ablation.Variant(), "5 passes": ablation.Variant()})
    monkeypatch.setattr(ablation, "read_settings", lambda _: make_settings(SHAPE))
    monkeypatch.setattr(ablation, "SIDE", 32)
    monkeypatch.setattr(sys, "argv", ["ablation.py", "small.toml", str(tmp_path), "--steps", "2"])
    ablation.main()
    first = (tmp_path / "base" / "log.jsonl").stat().st_mtime_ns
    shown = [[cell.strip() for cell in row.split("|")] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1:4] for row in shown] == [["base", "2", "-"], ["5 passes", "2", "-"]]
    assert shown[0][5] == f"{SHAPE.raw_bits_per_pixel:.2f}"
    ablation.main()
    assert (tmp_path / "base" / "log.jsonl").stat().st_mtime_ns == first
