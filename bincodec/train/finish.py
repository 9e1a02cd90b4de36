"""Finish a model: integers for the prior, hard levels for the decoder, one file with a card (DESIGN §7).

The encoder is frozen, so the levels no longer change. The decoder is trained on exactly the levels that files
hold, and the prior is trained through its own rounding. A decoder that has learned how pictures look is
frozen as well. The results are a model file, from which a later stage can start, and the float prior behind
its integers, which tells what these cost.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from bincodec.io import files
from bincodec.model import integer
from bincodec.model.card import ModelCard, check_facts, read_card
from bincodec.model.prior import Prior
from bincodec.model.weights import add_decoder, as_stored, autoencoder_state, save
from bincodec.train.codes import CodeSampler, encode
from bincodec.train.data import CropSampler
from bincodec.train.loop import VALIDATION_QUALITIES, Stage, read_sampler, train_stage, validation_set
from bincodec.train.objective import Objective
from bincodec.train.quantise import QuantisedPrior, RangeRecorder
from bincodec.train.readout import fit_output
from bincodec.train.rounding import MomentRecorder
from bincodec.train.settings import RunSettings, for_prior
from bincodec.train.trainer import Trainer
from bincodec.train.validate import Point, validate
from bincodec.train.weights import autoencoder_part, load_into, read_weights

RATE_SHARE = 0.1
"""The factor of the learning rates. Finishing only makes small corrections."""
_CALIBRATION_BATCHES = 8


def finish(
    settings: RunSettings,
    weights: Path,
    folder: Path,
    name: str,
    stage: Stage,
    *,
    device: str = "cpu",
    workers: int = 0,
    card: dict[str, Any] | None = None,
    validation_photos: int | None = None,
    prior_only: bool = False,
) -> ModelCard:
    """Turn averaged `weights`, or another model file, into the model file `folder`/`name`.safetensors.

    The prior learns through its rounding, and the decoder learns on the levels that files contain. With
    `prior_only`, or if the settings have a perceptual distance, the decoder stays as it is, and the prior
    learns on codes in memory. `card` holds further entries for the model card, such as data and licences.
    Steps, hardware and the validation curve are added to it. Return the card of the model.
    """
    check_facts(card or {})
    folder.mkdir(parents=True, exist_ok=True)
    where = torch.device(device)
    sampler, classes = read_sampler(settings)
    objective = Objective(settings.architecture, settings.objective).to(where)
    trained, metadata = read_weights(weights)
    load_into(objective, trained, weights)
    # The weights are rounded first, so that the decoder learns on the levels of the stored encoder.
    objective.autoencoder.load_state_dict(as_stored(objective.autoencoder.state_dict()))
    objective.hard_levels = True
    objective.fresh[:] = False
    objective.autoencoder.encoder.requires_grad_(False)
    objective.autoencoder.gains.requires_grad_(False)
    ranges = calibrate(settings, objective, sampler)
    prior = QuantisedPrior(_float_prior(objective), settings.architecture, ranges)
    prior.keep_bounds()
    objective.prior = prior
    # After training with a perceptual distance, squared errors alone would make the pictures soft again.
    prior_only = prior_only or settings.perceptual is not None
    learned: CropSampler | CodeSampler = sampler
    if prior_only:
        settings = for_prior(settings)
        objective.learn_prior_only()
        crops, _ = read_sampler(settings)
        codes = settings.prior.codes
        learned = encode(objective, crops, codes, np.random.default_rng(settings.data.seed))
    trainer = Trainer(_gentle(settings), folder, where, objective)
    trainer.history = metadata["history"]
    photos = validation_set(settings, validation_photos)
    train_stage(trainer, learned, stage, workers=workers, resumable=False)
    with trainer.averaged() as finished:
        # Here too, the weights are rounded first. The last matrix is stored in fp16 and compensates for it.
        finished.autoencoder.load_state_dict(as_stored(finished.autoencoder.state_dict()))
        if not prior_only:
            fit_output(finished, sampler, np.random.default_rng(settings.data.seed))
            finished.autoencoder.load_state_dict(as_stored(finished.autoencoder.state_dict()))
        prior.keep_bounds()
        prior.settle(_input_moments(settings, finished, sampler))
        points = validate(finished, photos, VALIDATION_QUALITIES)
        _save_float(trainer, folder / f"{name}-float.safetensors", name)
        return _save_model(trainer, folder / f"{name}.safetensors", name, points, {**classes, **(card or {})})


def finish_decoder(
    weights: Path, model: Path, folder: Path, decoder: str, stretch: float = 1.0, since: Path | None = None
) -> ModelCard:
    """Add the decoder of averaged float `weights` to a model, as a further decoder of its files.

    `since` names the weights with which the decoder's training began. What training has changed since then is
    added to the model's main decoder, which may come from a later stage. Without `since`, training began with
    the main decoder itself. With `stretch`, that many times the change is added, so that it becomes more, or
    less, pronounced. The result is `folder`/NAME.safetensors, where NAME is the name of the model. Return its
    card.

    Raises:
        ValueError: if the decoder does not fit the model, if there is no `since` and the decoder was not
            trained with the model's encoder, or if the weights become too large for a model file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = read_card(model)
    trained, metadata = read_weights(weights)
    state, main = autoencoder_part(trained), autoencoder_state(load_file(model))
    began = main if since is None else autoencoder_part(read_weights(since)[0])
    for key, value in main.items():
        encoding = key.startswith(("encoder.", "gains."))
        for path, part in ((weights, state), (since, began)):
            if key not in part or part[key].shape != value.shape:
                msg = f"{path} does not fit {model}: its {key} is missing or has another shape"
                raise ValueError(msg)
        if since is None and encoding and not torch.equal(state[key].half(), value.half()):
            msg = f"{weights} was not trained with the encoder of {model}: {key} differs"
            raise ValueError(msg)
        state[key] = value if encoding else value + stretch * (state[key].float() - began[key].float())
    if not all(value.isfinite().all() for value in as_stored(state).values()):
        msg = f"{weights}, stretched {stretch:g} times, has weights that a model file cannot hold"
        raise ValueError(msg)
    moved = since is not None  # Then the decoder's training was that of an earlier model.
    facts: dict[str, object] = {"training": metadata["history"], "stretch": stretch, "moved": moved}
    return add_decoder(card, folder / f"{card.name}.safetensors", decoder, state, facts)


def calibrate(settings: RunSettings, objective: Objective, sampler: CropSampler) -> dict[str, float]:
    """Return the largest activations of the float prior in the states that it is used in (`_show_crops`)."""
    recorder = RangeRecorder(_float_prior(objective))
    _show_crops(settings, objective, sampler)
    recorder.close()
    return recorder.ranges


def _input_moments(settings: RunSettings, objective: Objective, sampler: CropSampler) -> dict[str, Tensor]:
    """Return the second moments of the inputs of the float prior's contracting maps.

    The weights of these maps have the fewest bits, because their sums are the largest. Other maps gain
    nothing from another rounding (docs/decisions/0015).
    """
    maps = {name: m for name, m in _float_prior(objective).named_modules() if name.endswith(".contract")}
    recorder = MomentRecorder(maps)
    _show_crops(settings, objective, sampler)
    recorder.close()
    return recorder.moments


@torch.no_grad()
def _show_crops(settings: RunSettings, objective: Objective, sampler: CropSampler) -> None:
    """Show the float prior crops of all qualities, in the states that it is used in.

    Files are coded in states of the coding order. If levels are many, noise reaches several times as far, and
    the steps of such a range are too coarse for files of low quality (docs/decisions/0015). So noise counts
    only in a model of single bits, which is made for sampling.
    """
    prior, objective.prior = objective.prior, _float_prior(objective)
    if not settings.architecture.single_bits:
        objective.settings = dataclasses.replace(settings.objective, other_states=(0, 0, 0))
    rng = np.random.default_rng(settings.data.seed)
    device = objective.channel_layer.device
    for _ in range(_CALIBRATION_BATCHES):
        image = sampler.batch(settings.data.batch, rng).crops.to(device).float() / 255
        objective(image, torch.linspace(0, 1, len(image), device=device), 1.0, rng)
    objective.prior, objective.settings = prior, settings.objective


def _float_prior(objective: Objective) -> Prior:
    prior = objective.prior
    if isinstance(prior, QuantisedPrior):
        prior = prior.prior
    assert isinstance(prior, Prior)
    return prior


def _gentle(settings: RunSettings) -> RunSettings:
    gentle = dataclasses.replace(settings.optimiser.times(RATE_SHARE), decay_share=1.0)
    return dataclasses.replace(settings, optimiser=gentle)


def _save_float(trainer: Trainer, path: Path, name: str) -> None:
    """Save the float prior behind the integers. Everything else is in the model file."""
    state = _float_prior(trainer.objective).state_dict()
    tensors = {f"prior.{key}": value.half().contiguous() for key, value in state.items()}
    history = json.dumps([*trainer.history, {"finish": True, **trainer.summary()}])
    architecture = trainer.settings.architecture.to_json()
    files.write(path, serialised(tensors, {"model": name, "architecture": architecture, "history": history}))


def _save_model(
    trainer: Trainer, path: Path, name: str, points: list[Point], card: dict[str, Any]
) -> ModelCard:
    prior = trainer.objective.prior
    assert isinstance(prior, QuantisedPrior)
    network = prior.export()
    integer.check_bounds(trainer.settings.architecture, network)
    objective = trainer.settings.objective
    measured = {
        "lambda_range": [objective.lambda_lowest, objective.lambda_highest],
        "training": [*trainer.history, {"finish": True, **trainer.summary()}],
        "validation": [
            {"quality": p.quality, "bits_per_pixel": round(p.bits_per_pixel, 4), "psnr": round(p.psnr, 3)}
            for p in points
        ],
    }
    state = trainer.objective.autoencoder.state_dict()
    return save(path, name, trainer.settings.architecture, state, network, {**card, **measured})
