"""Finish float weights to a model file that can code."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data as photos

from bincodec import Codec
from bincodec.model import store, weights
from bincodec.model.architecture import Architecture
from bincodec.model.card import ModelCard, read_card
from bincodec.train import loop
from bincodec.train.finish import calibrate, finish
from bincodec.train.loop import Stage, read_sampler, run
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import RunSettings, read_settings
from bincodec.train.weights import load_into, read_weights

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
Make = Callable[..., RunSettings]
Finished = tuple[RunSettings, Path, ModelCard]


@pytest.fixture
def finished(tmp_path: Path, make_settings: Make) -> Finished:
    settings = make_settings()
    run(settings, tmp_path / "run", Stage(steps=3), validation_photos=1)
    start = tmp_path / "run" / "weights.safetensors"
    card = finish(
        settings,
        start,
        tmp_path / "model",
        "test-1",
        Stage(steps=3),
        card={"licence": "none", "size": [48, 32]},
        validation_photos=1,
    )
    return settings, start, card


def test_the_model_codes(finished: Finished) -> None:
    _, _, card = finished
    codec = Codec.load(str(card.path))
    assert codec.model.card == card
    picture = photos.astronaut()[30:91, 200:277]
    for quality in (0, 50, 100):
        code = codec.encode(picture, quality)
        data = codec.pack(code, verify=True)
        assert codec.pack(codec.unpack(data)) == data
        image = np.asarray(codec.decode(code))
        assert image.shape == picture.shape


def test_the_card_says_how_it_was_made(finished: Finished) -> None:
    settings, _, card = finished
    assert (card.name, card.architecture) == ("test-1", settings.architecture)
    assert card.path.name == "test-1.safetensors"
    assert card.card["licence"] == "none"
    assert read_card(card.path).size == card.size == (48, 32)
    assert [stage["steps"] for stage in card.card["training"]] == [3, 3]
    assert card.card["training"][1]["finish"] is True
    assert card.card["training"][0]["hardware"].startswith("CPU")
    assert [point["quality"] for point in card.card["validation"]] == [0, 17, 33, 50, 67, 83, 100]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*-card.json")), ids=lambda path: path.stem)
def test_the_cards_of_shipped_models_say_what_must_be_said(path: Path, finished: Finished) -> None:
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert all(facts[name] for name in ("description", "licence", "data"))
    assert facts.keys() <= {"description", "licence", "data", "size", "sampling"}
    family = path.stem.removesuffix("-card")
    newest = store.find(family)
    assert newest.path.parent == store.WEIGHTS
    assert {name: newest.card[name] for name in facts} == facts
    width, height = dataclasses.replace(finished[2], card=facts).size
    assert min(width, height) >= 16


def test_the_encoder_stays_and_the_rest_learns(finished: Finished) -> None:
    _, start, card = finished
    before, _ = read_weights(start)
    after, _ = read_weights(card.path.with_name("test-1-float.safetensors"))
    assert after.keys() == before.keys()
    frozen = ("autoencoder.encoder.", "autoencoder.gains.")
    for name in before:
        if name.startswith(frozen):
            # Blocks are stored in 8 bits with a scale for each row.
            step = before[name].abs().max() / 127 if ".blocks_" in name and before[name].ndim == 2 else 0.0
            assert (after[name] - before[name]).abs().max() <= 0.51 * step, name
    for part in ("autoencoder.decoder.", "autoencoder.inverse_gains.", "prior."):
        # Blocks are rounded to 8 bits, so they would differ in any case.
        kept = [name for name in before if name.startswith(part) and "blocks" not in name]
        assert any(not torch.equal(after[name], before[name]) for name in kept), part


@pytest.mark.parametrize("name", ["test-1-float.safetensors", "test-1.safetensors"])
def test_a_later_stage_starts_from_what_finishing_leaves(
    name: str, finished: Finished, tmp_path: Path
) -> None:
    settings, _, card = finished
    start = card.path.with_name(name)
    run(settings, tmp_path / "next", Stage(steps=1), start=start, validation_photos=1)
    assert (tmp_path / "next" / "weights.safetensors").exists()


@pytest.mark.parametrize("family", ["photo", "clothing"])
def test_the_shipped_models_can_be_trained_further(family: str) -> None:
    path = store.find(family).path
    tensors, metadata = read_weights(path)
    objective = Objective(Architecture.from_json(metadata["architecture"]), ObjectiveSettings())
    load_into(objective, tensors, path)
    stored = weights.autoencoder_state(load_file(path))
    assert stored
    for key, value in objective.autoencoder.state_dict().items():
        assert torch.equal(value, stored[key].float()), key


def test_the_configuration_of_clothing_3_is_that_of_the_model() -> None:
    settings = read_settings(CONFIGS / "clothing-3.toml")
    assert store.find("clothing-3").architecture == settings.architecture


def test_the_same_run_gives_the_same_model(finished: Finished, tmp_path: Path) -> None:
    settings, start, card = finished
    again = finish(settings, start, tmp_path / "again", "other-1", Stage(steps=3), validation_photos=1)
    assert again.fingerprint == card.fingerprint
    longer = finish(settings, start, tmp_path / "longer", "other-2", Stage(steps=5), validation_photos=1)
    assert longer.fingerprint != card.fingerprint


def test_bits_can_be_finished_too(tmp_path: Path, make_settings: Make, bits: object) -> None:
    settings = make_settings(bits)
    run(settings, tmp_path / "run", Stage(steps=2), validation_photos=1)
    start = tmp_path / "run" / "weights.safetensors"
    card = finish(settings, start, tmp_path / "model", "bits-1", Stage(steps=1), validation_photos=1)
    codec = Codec.load(str(card.path))
    code = codec.encode(photos.coffee()[100:140, 100:150])
    assert codec.unpack(codec.pack(code)).digest() == code.digest()


@pytest.mark.parametrize("single_bits", [False, True])
def test_noise_widens_the_steps_of_single_bits_only(
    make_settings: Make, small: Architecture, bits: Architecture, single_bits: bool
) -> None:
    """Wide steps would cost files of many levels, which are never coded in noisy states, bits for nothing."""
    settings = make_settings(bits if single_bits else small)
    sampler, _ = read_sampler(settings)
    objective = Objective(settings.architecture, settings.objective)
    objective.hard_levels = True

    def stream(other_states: tuple[int, int, int]) -> float:
        of_states = dataclasses.replace(settings.objective, other_states=other_states)
        objective.settings = of_states
        return calibrate(dataclasses.replace(settings, objective=of_states), objective, sampler)["stream"]

    assert (stream((3, 3, 2)) == stream((0, 0, 0))) != single_bits


def test_nothing_of_an_unfinished_stage_is_left(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the next run in this folder would continue with the state of the finishing."""
    monkeypatch.setattr(loop, "_SAVE_EVERY_SECONDS", -1.0)
    settings = make_settings()
    run(settings, tmp_path, Stage(steps=2), validation_photos=1)
    weights = tmp_path / "weights.safetensors"
    finish(settings, weights, tmp_path, "test-1", Stage(steps=2), validation_photos=1)
    assert not (tmp_path / "state.pt").exists()
    run(settings, tmp_path / "next", Stage(steps=1), start=weights, validation_photos=1)


def test_storing_rounds_blocks_to_8_bits_once(finished: Finished) -> None:
    before, _ = read_weights(finished[1])
    state = {key.removeprefix("autoencoder."): v for key, v in before.items() if key.startswith("auto")}
    stored = weights.as_stored(state)
    assert stored.keys() == state.keys()
    block = next(key for key in state if ".blocks_8." in key and state[key].ndim == 2)
    rows = stored[block] / (stored[block].abs().amax(1, keepdim=True) / 127)
    torch.testing.assert_close(rows, rows.round(), atol=1e-3, rtol=0)
    assert (stored[block] - state[block]).abs().max() > 0
    twice = weights.as_stored(stored)
    for key in stored:
        torch.testing.assert_close(twice[key], stored[key], atol=1e-6, rtol=1e-5)


def test_the_last_matrix_is_solved_for_last(
    tmp_path: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done after all steps, and its result is stored."""
    settings = make_settings()
    run(settings, tmp_path / "run", Stage(steps=1), validation_photos=1)

    def mark(objective: Objective, *_: object) -> None:
        with torch.no_grad():
            objective.autoencoder.decoder.head.bias.fill_(0.25)

    monkeypatch.setattr("bincodec.train.finish.fit_output", mark)
    start = tmp_path / "run" / "weights.safetensors"
    card = finish(settings, start, tmp_path / "model", "test-1", Stage(steps=2), validation_photos=1)
    assert (Codec.load(str(card.path)).model.autoencoder.decoder.head.bias == 0.25).all()


def test_the_decoder_can_stay_as_it_is(finished: Finished, tmp_path: Path) -> None:
    settings, start, _ = finished
    prior = dataclasses.replace(settings.prior, codes=8, batch=4)
    settings = dataclasses.replace(settings, prior=prior)
    stage = Stage(steps=3)
    card = finish(settings, start, tmp_path, "test-2", stage, validation_photos=1, prior_only=True)
    before, _ = read_weights(start)
    state = {key.removeprefix("autoencoder."): v for key, v in before.items() if key.startswith("auto")}
    found = Codec.load(str(card.path)).model.autoencoder.state_dict()
    for name, expected in weights.as_stored(state).items():
        torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=1e-5)
    after, _ = read_weights(card.path.with_name("test-2-float.safetensors"))
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("prior."))
