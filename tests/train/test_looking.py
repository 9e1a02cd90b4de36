"""Runs that see: resumed, continued, with a decoder that learns alone, and finished."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data as photos
from torch import Tensor

from bincodec import Codec
from bincodec.model.architecture import Architecture
from bincodec.model.card import ModelCard
from bincodec.model.weights import add_decoder, autoencoder_state
from bincodec.train import loop
from bincodec.train.appearance import PerceptualSettings
from bincodec.train.codes import PriorSettings
from bincodec.train.discriminator import AdversarialSettings
from bincodec.train.finish import finish, finish_decoder
from bincodec.train.loop import Stage, run
from bincodec.train.settings import RunSettings
from bincodec.train.trainer import DISCRIMINATOR, Trainer
from bincodec.train.weights import autoencoder_part, read_weights

Make = Callable[..., RunSettings]
FOUR = Stage(steps=4)
FROZEN = ("autoencoder.encoder.", "autoencoder.gains.", "prior.")


@pytest.fixture
def seeing(make_settings: Make, squeeze_file: Path, bits: Architecture) -> RunSettings:
    return dataclasses.replace(
        make_settings(bits),
        perceptual=PerceptualSettings(squeeze_file),
        adversarial=AdversarialSettings(width=4, code_width=4, start_share=0.4),
        prior=PriorSettings(codes=24, batch=8),
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def interrupted(folder: Path, step: int, call: Callable[[], None]) -> None:
    """Save after every step, and stop in the middle of a step."""
    honest = Trainer.update

    def update(trainer: Trainer, *arguments: object) -> None:
        if trainer.step == step:
            raise KeyboardInterrupt
        honest(trainer, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_SAVE_EVERY_SECONDS", -1.0)
        patch.setattr(Trainer, "update", update)
        with pytest.raises(KeyboardInterrupt):
            call()
    assert (folder / "state.pt").exists()
    torch.manual_seed(12345)


def test_an_interrupted_run_that_sees_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, seeing: RunSettings
) -> None:
    def go(name: str) -> None:
        run(seeing, tmp_path / name, FOUR, validation_photos=1)

    go("whole")
    # The discriminator has learned in one step already.
    interrupted(tmp_path / "parts", 3, lambda: go("parts"))
    go("parts")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    both = (load_file(tmp_path / name / DISCRIMINATOR) for name in ("whole", "parts"))
    assert same(*both)


def test_all_processes_have_the_discriminator_of_the_first(
    seeing: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for number in "01":
        monkeypatch.setenv("RANK", number)
        trainer = Trainer(seeing, tmp_path, torch.device("cpu"))
        assert trainer.objective.appearance is not None
        made.append(trainer.objective.appearance)
    first, second = (one.discriminator.state_dict() for one in made if one.discriminator is not None)
    assert not same(first, second)
    sent = iter(first.values())
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, _: tensor.copy_(next(sent)))
    made[1].share()
    assert same(first, second)


def test_a_prior_that_learns_alone_is_resumed_on_the_same_codes(tmp_path: Path, seeing: RunSettings) -> None:
    run(seeing, tmp_path / "first", FOUR, validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"

    def go(name: str) -> None:
        run(seeing, tmp_path / name, FOUR, start=start, validation_photos=1, prior_only=True)

    go("whole")
    interrupted(tmp_path / "parts", 2, lambda: go("parts"))
    go("parts")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    row = json.loads((tmp_path / "whole" / "log.jsonl").read_text(encoding="utf-8"))
    assert (row["steps"], row["crops"]) == (4, 32)


def test_seeing_changes_what_is_learned_and_is_logged(
    tmp_path: Path, seeing: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    blind = dataclasses.replace(seeing, perceptual=None, adversarial=None)
    half = dataclasses.replace(seeing, adversarial=None)
    for name, settings in (("blind", blind), ("half", half), ("seeing", seeing)):
        run(settings, tmp_path / name, FOUR, validation_photos=1)
    assert not same(weights(tmp_path / "blind"), weights(tmp_path / "half"))
    assert not same(weights(tmp_path / "half"), weights(tmp_path / "seeing"))
    assert [(tmp_path / name / DISCRIMINATOR).exists() for name in ("blind", "half", "seeing")] == [0, 0, 1]
    lines = (tmp_path / "seeing" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    *rows, _ = [json.loads(line) for line in lines]
    assert [row["critic"] > 0 for row in rows] == [False, False, True, True]
    assert all(row["perceptual"] > 0 for row in rows)


def test_a_decoder_may_learn_alone(tmp_path: Path, seeing: RunSettings) -> None:
    run(seeing, tmp_path / "first", FOUR, validation_photos=1)
    start = tmp_path / "first" / "weights.safetensors"
    run(seeing, tmp_path / "second", FOUR, start=start, validation_photos=1, decoder_only=True)
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    frozen = [name for name in before if name.startswith(FROZEN)]
    assert len(frozen) > 10
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > 0.8 * (len(before) - len(frozen))


def finished(settings: RunSettings, folder: Path) -> tuple[Path, ModelCard]:
    run(settings, folder / "first", FOUR, validation_photos=1)
    start = folder / "first" / "weights.safetensors"
    card = finish(settings, start, folder / "model", "seen-1", Stage(steps=2), validation_photos=1)
    return start, card


def test_a_decoder_that_sees_is_finished_as_it_is(tmp_path: Path, seeing: RunSettings) -> None:
    """Least squares would make its pictures soft again."""
    start, card = finished(seeing, tmp_path)
    before, after = load_file(start), Codec.load(str(card.path)).model.autoencoder.state_dict()
    for name, value in after.items():
        trained = before[f"autoencoder.{name}"].float()
        step = trained.abs().max() / 127 if ".blocks_" in name and trained.ndim == 2 else 0.0
        assert (value - trained).abs().max() <= 0.51 * step, name
    learned, _ = read_weights(card.path.with_name("seen-1-float.safetensors"))
    # Blocks are rounded to 8 bits, so they would differ in any case.
    kept = [name for name in before if name.startswith("prior.") and "blocks" not in name]
    assert any(not torch.equal(learned[name], before[name].float()) for name in kept)


def test_a_second_decoder_is_added_to_a_model(tmp_path: Path, seeing: RunSettings) -> None:
    _, card = finished(seeing, tmp_path)
    start = card.path.with_name("seen-1-float.safetensors")
    run(seeing, tmp_path / "second", FOUR, start=start, validation_photos=1, decoder_only=True)
    learned = tmp_path / "second" / "weights.safetensors"
    added = finish_decoder(learned, card.path, tmp_path / "both", "realism")
    assert added.decoders == ("fidelity", "realism")
    assert added.fingerprint == card.fingerprint
    assert added.path == tmp_path / "both" / "seen-1.safetensors"
    first, both = (Codec.load(str(one.path)) for one in (card, added))
    assert both.model.card == added
    picture = photos.astronaut()[30:91, 200:277]
    data = both.pack(both.encode(picture))
    assert data == first.pack(first.encode(picture))
    code = both.unpack(data)
    fidelity, realism = (np.asarray(both.decode(code, decoder=name)) for name in ("fidelity", "realism"))
    assert np.array_equal(fidelity, np.asarray(first.decode(first.unpack(data))))
    assert not np.array_equal(fidelity, realism)
    # Another decoder of that name takes its place.
    again = finish_decoder(learned, added.path, tmp_path / "again", "realism")
    assert again == dataclasses.replace(added, path=again.path)
    with pytest.raises(
        ValueError, match=r"stretched 1e\+12 times, has weights that a model file cannot hold"
    ):
        finish_decoder(learned, card.path, tmp_path / "far", "realism", stretch=1e12)
    # Stretched, its weights are farther from those of the main decoder, up to their rounding in the file.
    far = finish_decoder(learned, card.path, tmp_path / "far", "realism", stretch=3.0)
    facts = far.card["decoders"]["realism"]
    assert (facts["stretch"], facts["moved"]) == (3.0, False)
    main, near, stretched = (
        autoencoder_state(load_file(one.path), name)
        for one, name in ((card, "fidelity"), (added, "realism"), (far, "realism"))
    )
    moved = False
    for key, value in main.items():
        rounding = max(value.abs().max(), stretched[key].abs().max()) / 127 if value.ndim == 2 else 1e-2
        assert (stretched[key] - value - 3 * (near[key] - value)).abs().max() <= 2 * rounding, key
        moved = moved or bool(
            (stretched[key] - value).abs().max() > 1.5 * (near[key] - value).abs().max() > 0
        )
    assert moved


def test_what_a_decoder_has_learned_moves_to_a_later_model(tmp_path: Path, seeing: RunSettings) -> None:
    start, card = finished(seeing, tmp_path)
    run(seeing, tmp_path / "second", FOUR, start=start, validation_photos=1, decoder_only=True)
    learned = tmp_path / "second" / "weights.safetensors"
    with pytest.raises(ValueError, match="was not trained with the encoder of"):
        finish_decoder(learned, card.path, tmp_path / "both", "realism")
    added = finish_decoder(learned, card.path, tmp_path / "both", "realism", since=start)
    assert added.card["decoders"]["realism"]["moved"] is True
    before, after = (autoencoder_part(read_weights(path)[0]) for path in (start, learned))
    main, moved = (
        autoencoder_state(load_file(one.path), name) for one, name in ((card, "fidelity"), (added, "realism"))
    )
    for key, value in main.items():
        if key.startswith(("encoder.", "gains.")):
            assert torch.equal(moved[key], value), key
        else:
            rounding = moved[key].abs().max() / 127 if value.ndim == 2 else 1e-2
            assert (moved[key] - value - (after[key] - before[key])).abs().max() <= rounding, key
    # A decoder of another shape does not fit.
    other = tmp_path / "other.safetensors"
    tensors = {key: torch.zeros(1) for key in load_file(learned)}
    save_file(tensors, other, {"history": "[]"})
    for weights, since in ((other, None), (other, start), (learned, other)):
        with pytest.raises(ValueError, match=r"other.safetensors does not fit .* is missing or has another"):
            finish_decoder(weights, card.path, tmp_path / "both", "realism", since=since)


def test_a_decoder_of_another_encoder_is_not_added(tmp_path: Path, seeing: RunSettings) -> None:
    _, card = finished(seeing, tmp_path)
    other = dataclasses.replace(seeing, data=dataclasses.replace(seeing.data, seed=5))
    run(other, tmp_path / "other", FOUR, validation_photos=1)
    with pytest.raises(ValueError, match="was not trained with the encoder of"):
        finish_decoder(tmp_path / "other" / "weights.safetensors", card.path, tmp_path / "both", "realism")
    with pytest.raises(ValueError, match="is the main decoder"):
        add_decoder(card, tmp_path / "both" / "seen-1.safetensors", "fidelity", {}, {})
    assert not (tmp_path / "both" / "seen-1.safetensors").exists()
