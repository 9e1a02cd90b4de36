"""Adding layers of channels to trained weights."""

import dataclasses

import pytest
import torch

from bincodec.model.architecture import Architecture
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.widen import silent_blocks, widen

OLD = Architecture(
    layer_channels=(2, 3),
    maximum_level=(6, 4),
    layer_phases=(4, 2),
    width_8=8,
    width_16=8,
    blocks_8=1,
    blocks_16=1,
    prior_width=8,
    prior_blocks=1,
)
NEW = dataclasses.replace(OLD, layer_channels=(2, 3, 4), maximum_level=(6, 4, 2), layer_phases=(4, 2, 2))


def test_the_old_channels_and_the_picture_stay() -> None:
    torch.manual_seed(0)
    old, new = (Objective(shape, ObjectiveSettings()).eval() for shape in (OLD, NEW))
    state = new.state_dict()
    widen(old.state_dict(), state, OLD, NEW)
    new.load_state_dict(state)
    image, quality = torch.rand(1, 3, 48, 32), torch.tensor([0.7])
    with torch.no_grad():
        before, after = (model.autoencoder.analyse(image, quality) for model in (old, new))
        assert torch.allclose(after[:, :5], before, atol=1e-5)
        pictures = [
            model.autoencoder.synthesise(value, quality) for model, value in ((old, before), (new, after))
        ]
        assert torch.allclose(*pictures, atol=1e-4)
        keep = torch.ones(1, 3, 3, 2)
        predicted = new.prior(after, keep * torch.tensor([1.0, 1.0, 0.0])[:, None, None], quality)
        expected = old.prior(before, keep[:, :2], quality)
    for found, wanted in zip(predicted, expected, strict=True):
        assert torch.allclose(found[:, :5], wanted, atol=1e-4)


def test_what_is_known_of_classes_stays() -> None:
    torch.manual_seed(0)
    shapes = [dataclasses.replace(shape, classes=3) for shape in (OLD, NEW)]
    old, new = (Objective(shape, ObjectiveSettings()).eval() for shape in shapes)
    for name in ("stem_class", "head_class"):
        torch.nn.init.normal_(getattr(old.prior, name))
    state = new.state_dict()
    widen(old.state_dict(), state, *shapes)
    new.load_state_dict(state)
    keep, value = torch.ones(2, 3, 3, 2), torch.randn(2, 9, 3, 2)
    label, quality = torch.tensor([1, 3]), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        predicted = new.prior(value, keep * torch.tensor([1.0, 1.0, 0.0])[:, None, None], quality, label)
        expected = old.prior(value[:, :5], keep[:, :2], quality, label)
    for found, wanted in zip(predicted, expected, strict=True):
        assert torch.allclose(found[:, :5], wanted, atol=1e-4)


def test_layers_may_only_be_added_at_the_end() -> None:
    other = dataclasses.replace(NEW, layer_channels=(2, 2, 4))
    state = Objective(other, ObjectiveSettings()).state_dict()
    with pytest.raises(ValueError, match="do not begin with those of the weights"):
        widen(Objective(OLD, ObjectiveSettings()).state_dict(), state, OLD, other)


def test_a_deeper_encoder_begins_as_the_one_it_was() -> None:
    torch.manual_seed(0)
    deeper = dataclasses.replace(OLD, extra_encoder_blocks=2)
    old, new = (Objective(shape, ObjectiveSettings()).eval() for shape in (OLD, deeper))
    added = silent_blocks(new.state_dict(), OLD)
    assert {name.split(".")[3] for name in added} == {"1", "2"}
    new.load_state_dict(old.state_dict() | added)
    image, quality = torch.rand(1, 3, 48, 32), torch.tensor([0.7])
    with torch.no_grad():
        before, after = (model.autoencoder.analyse(image, quality) for model in (old, new))
    assert torch.equal(before, after)
    assert any(value.abs().sum() > 0 for value in added.values()), "blocks of zeros would never learn"
