"""What people do with the samplers, on codes: new pictures, filled holes, variations, missing layers.

The draws themselves are those of `samplers` (DESIGN §4); pictures become codes and back in `Codec`. Picture
number i of a seed uses random words of its own, so it is the same however many are drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from bincodec.arguments import checked_integer, checked_number
from bincodec.bitstream.tiles import grid_of
from bincodec.code import BinaryCode, Levels, Mask
from bincodec.coding.cost import cost
from bincodec.coding.passes import Predictor
from bincodec.errors import InvalidSetting
from bincodec.generation import samplers
from bincodec.generation.guidance import Guided, Tempered
from bincodec.generation.samplers import Hole, Words
from bincodec.generation.settings import SamplingPlan, SamplingSettings
from bincodec.model.weights import Model
from bincodec.postfilter.filter import KIND

MAX_COUNT = 1_000_000

Watch = Callable[[BinaryCode], None]
"""Called with the code as it stands after each step of the diffusion sampler, or once after the last pass of
the autoregressive one."""


@dataclasses.dataclass(frozen=True)
class Completed:
    """A code whose layers are all there, some of them sampled.

    Args:
        code: all layers of the model.
        real_layers: how many, from the first, are not sampled.
        real_share: their part of the bits (`Codec.cost`), 0..1. Where nobody knows what the missing layers
            were, they count as layers sampled at temperature 1 do.
    """

    code: BinaryCode
    real_layers: int
    real_share: float


def sample(
    model: Model,
    count: int,
    size: tuple[int, int],
    quality: int,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """`count` codes of pictures of `size` (width, height), from nothing but the prior."""
    card, (width, height) = model.card, size
    count = checked_integer("count", count, 1, MAX_COUNT)
    plan = settings.plan(card)
    architecture, grid = card.architecture, grid_of(width, height)
    nothing = tuple(np.zeros((channels, *grid), np.uint8) for channels in architecture.layer_channels)
    blank = BinaryCode(
        nothing, architecture.maximum_level, width, height, quality, card.name, card.fingerprint
    )
    return [_draw(model, blank, plan, image, watch=watch) for image in range(count)]


def inpaint(
    model: Model,
    code: BinaryCode,
    known: Mask,
    count: int,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """`count` codes that agree with `code` at the `known` positions (h, w) and are drawn at all others."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    plan = settings.plan(model.card)
    require_whole(model, code)
    hole = Hole(code.levels, known)
    return [_draw(model, code, plan, image, hole=hole, watch=watch) for image in range(count)]


def vary(
    model: Model,
    code: BinaryCode,
    strength: float,
    count: int,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """`count` codes like a given one: noise of time `strength` 0..1 is added to it and taken away again."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    checked_number("strength", strength, 1.0)
    if settings.sampler == "autoregressive":
        msg = "sampler 'autoregressive' cannot vary a picture: only 'diffusion' starts from one"
        raise InvalidSetting(msg)
    plan = dataclasses.replace(settings, sampler="diffusion").plan(model.card)
    require_whole(model, code)
    code = _without_filter(code)
    return [_draw(model, code, plan, image, strength=strength, watch=watch) for image in range(count)]


def complete(model: Model, code: BinaryCode, layers: int | None, settings: SamplingSettings) -> Completed:
    """All layers of a code, those after the first `layers` sampled, and whatever some of its tiles lack."""
    code.check_model(model.card)
    real = checked_integer("layers", code.layers if layers is None else layers, 1, code.layers)
    every = model.card.architecture.layers
    if real == every and code.tile_layers is None:
        return Completed(code, real, 1.0)
    plan = settings.plan(model.card)
    whole = _continued(model, code, real, plan)
    # The bits of what is missing: as it was, or as it would be if drawn at the prior's own temperature.
    measured = code
    if code.layers < every or code.tile_layers is not None:
        measured = _continued(model, code, real, dataclasses.replace(plan, temperature=1.0))
    bits = cost(model.prior, measured)
    known = _known(code, real, every)
    share = float(bits[known].sum() / bits.sum())
    return Completed(_without_filter(whole), int(known.all((1, 2)).argmin()), share)


def _known(code: BinaryCode, layers: int, every: int) -> Mask:
    """Which of the first `layers` layers a code has where: (every, h, w)."""
    known = np.zeros((every, *code.grid), np.bool_)
    for tile in code.tiles:
        known[: min(layers, code.layers_of(tile)), *tile.place] = True
    return known


def steps_of(model: Model, settings: SamplingSettings) -> int:
    """How often `watch` is called for a picture.

    Raises:
        InvalidSetting: for settings that the model cannot follow.
    """
    plan = settings.plan(model.card)
    return plan.steps if plan.sampler == "diffusion" else 1


def require_whole(model: Model, code: BinaryCode) -> None:
    """Raise `InvalidSetting` unless `code` has all layers of the model, `WrongModel` if it is another's."""
    code.check_model(model.card)
    layers = model.card.architecture.layers
    if code.layers < layers:
        msg = f"the code has {code.layers} of the model's {layers} layers: complete it first"
        raise InvalidSetting(msg)
    if code.tile_layers is not None:
        msg = "the code lacks layers in some of its tiles: complete it first"
        raise InvalidSetting(msg)


def _draw(
    model: Model,
    code: BinaryCode,
    plan: SamplingPlan,
    image: int,
    *,
    strength: float = 1.0,
    hole: Hole | None = None,
    watch: Watch | None = None,
) -> BinaryCode:
    """`code` with other levels: picture number `image` of the plan's seed."""
    for levels in _states(model, code, plan, image, strength, hole):
        code = dataclasses.replace(code, levels=levels)
        if watch is not None:
            watch(code)
    return code


def _states(
    model: Model, code: BinaryCode, plan: SamplingPlan, image: int, strength: float, hole: Hole | None
) -> Iterator[tuple[Levels, ...]]:
    """The levels after each step; diffusion starts from the code's at time `strength` (1: pure noise)."""
    prior, words = _steered(model, plan), Words(plan.seed, image)
    if plan.sampler == "autoregressive":
        yield samplers.autoregressive(prior, code.quality, code.grid, words, steps=plan.steps, hole=hole)
        return
    keep = samplers.keeps(plan.schedule, plan.steps, strength)
    levels = samplers.add_noise(code.levels, code.maximum, keep[0], words)
    for pair in itertools.pairwise(keep):
        (levels,) = samplers.denoise(prior, code.quality, levels, pair, words, hole)
        yield levels


def _continued(model: Model, code: BinaryCode, layers: int, plan: SamplingPlan) -> BinaryCode:
    """The first `layers` layers of a code, and all others drawn, as well as what tiles lack."""
    prior, words, architecture = _steered(model, plan), Words(plan.seed), model.card.architecture
    if code.tile_layers is None:
        levels = samplers.autoregressive(prior, code.quality, code.grid, words, given=code.levels[:layers])
    else:
        hole = Hole(code.levels, _known(code, layers, architecture.layers))
        levels = samplers.autoregressive(prior, code.quality, code.grid, words, hole=hole)
    return dataclasses.replace(code, levels=levels, maximum=architecture.maximum_level, tile_layers=None)


def _steered(model: Model, plan: SamplingPlan) -> Tempered:
    prior: Predictor = model.prior
    if plan.label:
        prior = Guided(model.prior, plan.label, plan.guidance)
    return Tempered(prior, plan.temperature)


def _without_filter(code: BinaryCode) -> BinaryCode:
    """The post-filter was fitted to other levels: where all or most of them are drawn, it misleads."""
    return dataclasses.replace(code, extras=tuple(a for a in code.extras if a.kind != KIND))
