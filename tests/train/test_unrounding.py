"""The float prior that is made of a model's integers predicts what they do, and a stage can start from it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from skimage import data as photos
from torch import Tensor

from bincodec import Codec
from bincodec.coding.cost import cost
from bincodec.errors import DamagedModel
from bincodec.eval.float_prior import FloatPrior
from bincodec.model import store
from bincodec.model.architecture import Architecture
from bincodec.model.prior import Prior
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.quantise import QuantisedPrior, RangeRecorder
from bincodec.train.unrounding import float_prior
from bincodec.train.weights import read_weights

LEVELS = Architecture((2, 3), (6, 2), (2, 1), width_8=8, width_16=12, prior_width=16, prior_blocks=2)
BITS = Architecture(
    (2, 3), (1, 1), (2, 1), "logistic", width_8=8, width_16=12, prior_width=16, prior_blocks=2, classes=3
)
TIMES = st.integers(-2, 2)


def shown(architecture: Architecture) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return context, keeps, qualities and labels of 8 codes."""
    tops = torch.tensor(architecture.maximum_level).repeat_interleave(
        torch.tensor(architecture.layer_channels)
    )
    levels = (torch.rand(8, architecture.channels, 6, 6) * (tops[:, None, None] + 1)).floor()
    context = levels - tops[:, None, None] / 2
    labels = torch.arange(8) % (architecture.classes + 1)
    return context, torch.ones(8, architecture.layers, 6, 6), torch.linspace(0, 1, 8), labels


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.sampled_from([LEVELS, BITS]), st.integers(0, 99), TIMES, TIMES, TIMES)
def test_it_predicts_what_the_integers_do(
    architecture: Architecture, seed: int, stream: int, mixed: int, expanded: int
) -> None:
    torch.manual_seed(seed)
    prior = Prior(architecture)
    inputs = shown(architecture)
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            if "quality" in name or "class" in name or name.endswith("bias"):
                parameter.normal_(0, 0.2)
        # The size of the weights differs from what is usual, but not what the network predicts.
        for name, parameter in prior.named_parameters():
            if name.startswith("stem") or "contract" in name:
                parameter *= 2.0**stream
            if "depthwise" in name:
                parameter *= 2.0**mixed
            if "expand" in name:
                parameter *= 2.0**expanded
            if name in ("head.weight", "blocks.0.depthwise.weight", "blocks.1.depthwise.weight"):
                parameter *= 2.0**-stream
            if name.endswith("expand.weight"):
                parameter *= 2.0**-mixed
            if name.endswith("contract.weight"):
                parameter *= 2.0**-expanded
        recorder = RangeRecorder(prior)
        expected = prior(*inputs)
        recorder.close()
        quantised = QuantisedPrior(prior, architecture, recorder.ranges)
        restored = Prior(architecture)
        restored.load_state_dict(float_prior(architecture, quantised.export()))
        for of_float, of_integers, found in zip(expected, quantised(*inputs), restored(*inputs), strict=True):
            # The restored network differs from the integers as much as the first network does, or less.
            spread = of_float.std() + 0.05
            assert (found - of_float).abs().mean() < 0.05 * spread
            assert (found - of_integers).abs().mean() < 0.1 * spread
    sizes = {name: float(p.square().mean().sqrt()) for name, p in restored.state_dict().items()}
    for i in range(architecture.prior_blocks):
        assert 0.03 < sizes[f"blocks.{i}.depthwise.weight"] < 0.07
        assert 0.1 < sizes[f"blocks.{i}.expand.weight"] < 0.25
    assert 0.7 < sizes["stem.weight"] / sizes["head.weight"] < 3.1


@pytest.mark.parametrize("part", ["depthwise", "expand", "contract", "head"])
def test_maps_of_nothing_but_zeros_stay_within_bounds(part: str) -> None:
    torch.manual_seed(3)
    prior = Prior(LEVELS)
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            parameter.normal_(0, 0.2)
            if name.endswith(f"{part}.weight"):
                parameter.zero_()
        recorder = RangeRecorder(prior)
        prior(*shown(LEVELS))
        recorder.close()
        network = QuantisedPrior(prior, LEVELS, recorder.ranges).export()
    restored = float_prior(LEVELS, network)
    assert all(value.abs().max() < 1000 for value in restored.values())


@pytest.mark.parametrize("family", ["photo", "clothing"])
def test_the_float_prior_of_a_shipped_model_needs_as_many_bits(family: str) -> None:
    codec = Codec.load(family)
    card = codec.model.card
    code = codec.encode(photos.chelsea()[60:188, 90:218], 50)
    tensors, metadata = read_weights(card.path)
    assert Architecture.from_json(metadata["architecture"]) == card.architecture
    assert metadata["history"] == card.card["training"]
    assert metadata["history"]
    objective = Objective(card.architecture, ObjectiveSettings())
    objective.load_state_dict(tensors)
    of_integers = float(cost(codec.model.prior, code).sum())
    assert FloatPrior(objective.eval()).bits(code) == pytest.approx(of_integers, rel=0.005)


def damage(tensors: dict[str, Tensor], how: str) -> None:
    key = "prior.blocks.0.expand"
    if how == "missing":
        del tensors[f"{key}.shift"]
    elif how == "shape":
        tensors["prior.enter"] = torch.tensor(3, dtype=torch.int8)
    elif how == "value":
        tensors[f"{key}.weight"][0, 0] += 1
    elif how == "scale":
        name = next(name for name in tensors if name.startswith("encoder.") and name.endswith(".scale"))
        tensors[name] = tensors[name][:, :0].contiguous()


@pytest.mark.parametrize("how", ["missing", "shape", "value", "scale"])
def test_a_damaged_model_is_named(how: str, tmp_path: Path) -> None:
    path = store.find("clothing-1").path
    tensors = load_file(path)
    damage(tensors, how)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(tensors, tmp_path / "m.safetensors", metadata)
    with pytest.raises(DamagedModel, match=r"m\.safetensors: "):
        read_weights(tmp_path / "m.safetensors")


def test_other_tools_may_name_a_format(tmp_path: Path) -> None:
    save_file({"prior.stem.bias": torch.ones(3)}, tmp_path / "w.safetensors", {"format": "pt"})
    tensors, _ = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(tensors["prior.stem.bias"], torch.ones(3))
