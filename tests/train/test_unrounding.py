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
from bincodec.model.architecture import Architecture
from bincodec.model.prior import Prior
from bincodec.train.quantise import QuantisedPrior, RangeRecorder
from bincodec.train.unrounding import float_prior
from bincodec.train.weights import read_weights

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
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
            if "quality" in name or "class" in name:
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


@pytest.mark.parametrize("family", ["photo", "clothing"])
def test_the_float_prior_of_a_shipped_model_needs_as_many_bits(family: str) -> None:
    codec = Codec.load(family)
    picture = photos.chelsea()[60:188, 90:218]
    code = codec.encode(picture, 50)
    restored = FloatPrior.load(codec.model.card.path, codec.model.card.architecture)
    of_integers = float(cost(codec.model.prior, code).sum())
    assert restored.bits(code) == pytest.approx(of_integers, rel=0.005)


def test_the_autoencoder_and_the_history_are_those_of_the_model() -> None:
    tensors, metadata = read_weights(TINY)
    card = Codec.load(str(TINY)).model.card
    assert Architecture.from_json(metadata["architecture"]) == card.architecture
    assert metadata["history"] == card.card.get("training", [])
    stored = load_file(TINY)
    key = "decoder.head.bias"
    assert torch.equal(tensors[f"autoencoder.{key}"], stored[f"decoder.fidelity.{key}"].float())
    names = {key.removeprefix("prior.") for key in tensors if key.startswith("prior.")}
    assert names == Prior(card.architecture).state_dict().keys()


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    tensors = load_file(TINY)
    del tensors["prior.blocks.0.expand.shift"]
    with safe_open(TINY, framework="numpy") as file:
        metadata = file.metadata()
    save_file(tensors, tmp_path / "m.safetensors", metadata)
    with pytest.raises(DamagedModel, match="the weights do not fit the architecture"):
        read_weights(tmp_path / "m.safetensors")
