"""What a fingerprint covers, what a digest notices, and decoders beside the main one."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bincodec import Codec, DamagedModel, WrongModel
from bincodec.model import weights
from bincodec.model.card import ModelCard, read_card
from bincodec.model.decoders import choose
from bincodec.postfilter import filter as post_filter

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> weights.Model:
    """Store the tiny model once more. Its weights were rounded before, so they hardly change."""
    tiny = weights.load(read_card(TINY))
    path = tmp_path_factory.mktemp("weights") / "tiny-2.safetensors"
    state = tiny.autoencoder.state_dict()
    card = weights.save(path, "tiny-2", tiny.card.architecture, state, tiny.prior.network, {})
    return dataclasses.replace(tiny, card=card)


def nudged(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return a state dict with one number changed by more than the rounding of a file."""
    value = state[name].clone()
    value.view(-1)[0] += 0.5
    return {**state, name: value}


def saved(tiny: weights.Model, path: Path, state: dict[str, Tensor], **more: object) -> ModelCard:
    architecture, network = tiny.card.architecture, tiny.prior.network
    return weights.save(path, "tiny-2", architecture, state, network, {}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["decoder.head.weight", "decoder.stem.bias", "inverse_gains.log_gain"])
def test_the_fingerprint_names_the_decoder(tiny: weights.Model, tmp_path: Path, name: str) -> None:
    changed = saved(tiny, tmp_path / "a.safetensors", nudged(tiny.autoencoder.state_dict(), name))
    assert changed.fingerprint != tiny.card.fingerprint
    assert changed.encoder_digest == tiny.card.encoder_digest
    code = Codec.load(str(tiny.card.path)).encode(PIXELS)
    with pytest.raises(WrongModel):
        Codec.load(str(changed.path)).decode(code)


@pytest.mark.parametrize("name", ["encoder.stem.weight", "gains.log_gain"])
def test_a_better_encoder_orphans_no_file(tiny: weights.Model, tmp_path: Path, name: str) -> None:
    changed = saved(tiny, tmp_path / "a.safetensors", nudged(tiny.autoencoder.state_dict(), name))
    assert changed.fingerprint == tiny.card.fingerprint
    assert changed.encoder_digest != tiny.card.encoder_digest
    file = Codec.load(str(changed.path)).compress(PIXELS)
    assert Codec.load(str(tiny.card.path)).decompress(file).size == (70, 40)


def test_the_fingerprint_names_the_post_filter(
    tiny: weights.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FILTER_VERSION", post_filter.FILTER_VERSION + 1)
    changed = saved(tiny, tmp_path / "a.safetensors", tiny.autoencoder.state_dict())
    assert changed.fingerprint != tiny.card.fingerprint


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("decoder.fidelity.decoder.head.weight", "decoder 'fidelity' are damaged"),
        ("decoder.fidelity.inverse_gains.log_gain", "decoder 'fidelity' are damaged"),
        ("encoder.encoder.stem.weight", "the weights of the encoder are damaged"),
        ("prior.head.weight", "do not match the fingerprint"),
    ],
)
def test_damaged_weights_are_noticed(tmp_path: Path, tensor: str, message: str) -> None:
    with safe_open(TINY, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(TINY)
    value = tensors[tensor].clone()
    value.view(-1)[0] += 1
    path = tmp_path / "damaged.safetensors"
    save_file({**tensors, tensor: value}, path, metadata)
    with pytest.raises(DamagedModel, match=message):
        weights.load(read_card(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("later", 1),
        ("maximum_level", [255, 4, 4]),
        ("maximum_level", [0, 4, 4]),
        ("layer_phases", [3, 1, 1]),
        ("prior_width", 0),
        ("prior_width", 4097),
        ("prior_blocks", 65),
        ("layer_channels", [4097, 1, 1]),
        ("classes", 1001),
        ("width_8", 16.0),
    ],
)
def test_other_architectures_are_refused(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "tiny-1.safetensors"
    with safe_open(TINY, framework="pt") as file:
        metadata = file.metadata()
    fields = json.loads(metadata["architecture"]) | {field: value}
    save_file(load_file(TINY), path, {**metadata, "architecture": json.dumps(fields)})
    with pytest.raises(DamagedModel, match=field):
        read_card(path)
    save_file(load_file(TINY), path, {**metadata, "format": "bincodec model 3"})
    with pytest.raises(DamagedModel, match="is not a model file of format 'bincodec model 2'"):
        read_card(path)


@pytest.mark.parametrize(
    "sampling",
    [
        {"guidance": 16.5},
        {"guidance": "3"},
        {"guidance": True},
        {"guided_by": "neither"},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"guidance_delay": 1.1},
        {"renewal": 1.5},
        {"renewal": None},
        ["guidance"],
        [],
        "",
    ],
)
def test_a_card_that_says_nonsense_of_sampling_is_refused(tmp_path: Path, sampling: object) -> None:
    path = tmp_path / "tiny-1.safetensors"
    with safe_open(TINY, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(TINY), path, {**metadata, "card": json.dumps({"sampling": sampling})})
    with pytest.raises(DamagedModel, match="is not a readable model file: "):
        read_card(path)


@pytest.mark.parametrize("field", ["classes", "prior_width", "layer_phases"])
def test_a_model_file_has_all_fields_of_its_architecture(tmp_path: Path, field: str) -> None:
    path = tmp_path / "tiny-1.safetensors"
    with safe_open(TINY, framework="pt") as file:
        metadata = file.metadata()
    fields = json.loads(metadata["architecture"])
    del fields[field]
    save_file(load_file(TINY), path, {**metadata, "architecture": json.dumps(fields)})
    with pytest.raises(DamagedModel, match=f"its architecture has no {field}"):
        read_card(path)


def test_further_decoders_stand_beside_the_main_one(tiny: weights.Model, tmp_path: Path) -> None:
    state = tiny.autoencoder.state_dict()
    other = {"realism": {name: value * 1.5 for name, value in state.items()}}
    card = saved(tiny, tmp_path / "a.safetensors", state, decoders=other)
    assert card.fingerprint == tiny.card.fingerprint
    assert read_card(card.path) == card
    assert card.decoders == ("fidelity", "realism")

    codec = Codec.load(str(card.path))
    code = codec.encode(np.full((64, 64, 3), (250, 128, 9), np.uint8), 100)
    assert code.extras, "this picture is to have a post-filter"
    plain, changed = (np.asarray(codec.decode(code, decoder=name)) for name in card.decoders)
    assert (plain != changed).any()

    main, other = (codec.model.decoders.network(choose(card, name)) for name in card.decoders)
    assert main.encoder is other.encoder, "the encoder is in memory once"
