"""Measure how good drawn pictures are, compared with real pictures that the model was not trained on.

All sets are compared with the same real pictures, in the features of one network. Two rows are a floor that
no generator can be better than: the two halves of the real set, and training pictures. A row of
reconstructions shows how much the decoder alone costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bincodec.eval import memorisation, sampled_sets, set_distances
from bincodec.eval.errors import NameTaken
from bincodec.eval.features import FeatureNetwork
from bincodec.eval.generation_spec import Setting
from bincodec.eval.memorisation import Known, Memory, Nearest
from bincodec.eval.picture_sets import PictureSet
from bincodec.eval.sampled_sets import Drawn
from bincodec.eval.set_distances import Estimate, Features
from bincodec.generation.settings import SamplingSettings
from bincodec.io import files

if TYPE_CHECKING:
    from bincodec.codec import Codec

HELD_OUT = "held-out"


@dataclass(frozen=True)
class GenerationPlan:
    """What to measure.

    Args:
        real: held-out pictures, all of one size.
        network: the network whose features are used for distances.
        count: the number of pictures to draw for each of `settings`.
        settings: the settings to draw with.
        codecs: the codecs, by the name of the model in `settings`.
        train: training pictures of the same size, or None.
        folders: sets of pictures from elsewhere, by name.
        cache: the folder in which the features of `real` and `train` are stored, or None.
    """

    real: PictureSet
    network: FeatureNetwork
    count: int
    settings: tuple[Setting, ...] = ()
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    train: PictureSet | None = None
    folders: Mapping[str, PictureSet] = field(default_factory=dict)
    cache: Path | None = None


@dataclass(frozen=True)
class SetRow:
    """The distances of one set from another.

    Args:
        kind: "floor", "reconstruction", "folder" or "drawn".
        pictures: the number of pictures in the set.
        against: the number of pictures it was compared with. These are held-out ones, except for the floor
            of halves.
        kernel: the squared kernel distance, not multiplied by 1000.
        seconds: the time to draw and decode one picture, with the threads that PyTorch was given.
        bits: the mean size of a picture's complete file in bits.
        prior_bits: the mean over pictures of the sum of -log2 of the prior's probabilities.
        psnr: the mean PSNR of reconstructions in dB.
        sampler: the sampler that was used.
        steps: the number of steps that was used.
    """

    name: str
    kind: str
    pictures: int
    against: int
    kernel: Estimate
    frechet: float
    precision: float
    recall: float
    seconds: float | None = None
    bits: float | None = None
    prior_bits: float | None = None
    psnr: float | None = None
    setting: Setting | None = None
    sampler: str | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Outcome:
    """All results.

    Args:
        memories: memorisation by the name of a row, or `HELD_OUT`; empty without training pictures.
        samples: some pictures of each set that is not a floor, by name, (N, H, W, 3).
        pairs: the closest pairs of `memories`, each picture beside its training picture, as in `samples`.
        dimensions: the number of features of a picture.
        interrupted: whether sets are missing because of an interruption.
    """

    plan: GenerationPlan
    rows: tuple[SetRow, ...]
    memories: Mapping[str, Memory]
    samples: Mapping[str, NDArray[np.uint8]]
    pairs: Mapping[str, NDArray[np.uint8]]
    dimensions: int
    interrupted: bool = False


SHOWN = 12
"""The number of pictures of each set that are kept for the sheet of samples."""


def check(plan: GenerationPlan) -> None:
    """Check a plan before anything is measured.

    Raises:
        InvalidSetting: if a setting does not fit its model.
        NameTaken: if two sets have the same name.
        TooFew: if a set is too small.
        OSError: if the cache cannot be written.
    """
    set_distances.require_enough(len(plan.real) // 2, "each half of the held-out pictures")
    others = plan.folders if plan.train is None else {"training pictures": plan.train, **plan.folders}
    for name, found in others.items():
        set_distances.require_enough(len(found), name)
    if plan.settings:
        set_distances.require_enough(plan.count, "each drawn set")
    for setting in plan.settings:
        card = plan.codecs[setting.model].model.card
        for label in setting.names(plan.real.labels):
            SamplingSettings(**setting.how(label)).plan(card)
    names = [HELD_OUT, *plan.folders, *(setting.label for setting in plan.settings)]
    for name in names:
        if names.count(name) > 1:
            msg = f"two sets of this run are called {name!r}"
            raise NameTaken(msg)
    if plan.cache is not None:
        plan.cache.mkdir(parents=True, exist_ok=True)
        files.check_folder(plan.cache)


def run(plan: GenerationPlan, *, progress: bool = False) -> Outcome:
    """Measure every set of a plan that `check` accepts.

    After Ctrl-C, the sets that are complete are returned, if there are any.

    Raises:
        KeyboardInterrupt: on Ctrl-C if no set is complete yet.
    """
    ground = _ground(plan, progress)
    rows = list(_floors(ground))
    memories, samples, pairs = {}, {}, {}
    if ground.held_out is not None:
        memories[HELD_OUT] = memorisation.memory(ground.held_out, ground.held_out)
    interrupted = False
    try:
        for made in tqdm(_sets(plan), total=_count(plan), desc="sets", disable=None if progress else True):
            features = plan.network.features(made.pixels)
            found = _memory(ground, made, features)
            row = _row(made.name, made.kind, ground.features, features, made.facts, made.setting)
            if found is not None and plan.train is not None:
                memories[made.name] = found
                pairs[made.name] = _beside(found, made.pixels, plan.train.pixels)
            samples[made.name] = _some(made.pixels)
            rows.append(row)
    except KeyboardInterrupt:
        if all(row.kind == "floor" for row in rows):
            raise
        interrupted = True
    return Outcome(plan, tuple(rows), memories, samples, pairs, ground.features.shape[1], interrupted)


@dataclass(frozen=True)
class _Ground:
    """What every set is compared with: features of real pictures and, if given, of training pictures."""

    features: Features
    known: Known | None = None
    held_out: Nearest | None = None


def _ground(plan: GenerationPlan, progress: bool) -> _Ground:
    real = plan.network.kept(plan.real.pixels, plan.cache, label="held-out pictures" if progress else "")
    if plan.train is None:
        return _Ground(real)
    pixels = plan.train.pixels
    trained = plan.network.kept(pixels, plan.cache, label="training pictures" if progress else "")
    known = memorisation.known(pixels, trained)
    return _Ground(real, known, memorisation.look(known, plan.real.pixels, real))


def _memory(ground: _Ground, made: Drawn, features: Features) -> Memory | None:
    if ground.known is None or ground.held_out is None:
        return None
    return memorisation.memory(memorisation.look(ground.known, made.pixels, features), ground.held_out)


def _some(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures from all over a set, because pictures of one class are next to each other."""
    chosen = np.linspace(0, len(pixels) - 1, min(SHOWN, len(pixels))).astype(int)
    result: NDArray[np.uint8] = pixels[chosen]
    return result


def _floors(ground: _Ground) -> Iterator[SetRow]:
    """Yield two rows: random halves of the real set, and as many random training pictures as real ones."""
    real = ground.features
    order = np.random.default_rng(0).permutation(len(real))
    halves = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    yield _row("two halves of held-out", "floor", *halves)
    if ground.known is not None:
        trained = ground.known.features
        some = np.random.default_rng(0).permutation(len(trained))[: len(real)]
        yield _row("training pictures", "floor", real, trained[some])


def _row(
    name: str,
    kind: str,
    real: Features,
    features: Features,
    facts: Mapping[str, Any] | None = None,
    setting: Setting | None = None,
) -> SetRow:
    return SetRow(
        name,
        kind,
        len(features),
        len(real),
        set_distances.kernel_distance(real, features, paired=kind == "reconstruction"),
        set_distances.frechet_distance(real, features),
        *set_distances.precision_and_recall(real, features),
        **(facts or {}),
        setting=setting,
    )


def _count(plan: GenerationPlan) -> int:
    return 2 * len(_reconstructions(plan)) + len(plan.folders) + len(plan.settings)


def _sets(plan: GenerationPlan) -> Iterator[Drawn]:
    labels, size = plan.real.labels, plan.real.size
    for model, quality in _reconstructions(plan):
        yield from sampled_sets.reconstruct(plan.codecs[model], model, quality, plan.real.pixels)
    for name, found in plan.folders.items():
        yield Drawn(name, "folder", found.pixels)
    for setting in plan.settings:
        yield sampled_sets.draw(plan.codecs[setting.model], setting, plan.count, size, labels)


def _reconstructions(plan: GenerationPlan) -> list[tuple[str, int]]:
    """Return the models and qualities that pictures are drawn with."""
    return list(dict.fromkeys((setting.model, setting.quality) for setting in plan.settings))


def _beside(found: Memory, pixels: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the closest pairs, (N, H, 2 W, 3)."""
    return np.stack(
        [np.concatenate([pixels[p.picture], training[p.training]], axis=1) for p in found.closest]
    )
