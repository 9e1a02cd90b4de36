"""Use the samplers on codes: draw new pictures, fill holes, vary pictures, complete missing layers.

`samplers` makes the draws themselves (DESIGN §4), and `Codec` turns pictures into codes and back. Each
picture of a seed has random numbers of its own, so picture i is the same however many pictures are drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from bincodec.arguments import checked_integer, checked_number
from bincodec.bitstream.index import POST_FILTER
from bincodec.bitstream.tiles import grid_of
from bincodec.code import BinaryCode, Levels, Mask, without_unknown
from bincodec.coding.cost import cost
from bincodec.coding.passes import Predictor
from bincodec.errors import InvalidSetting
from bincodec.generation import samplers
from bincodec.generation.guidance import Guided, Tempered
from bincodec.generation.samplers import Hole, Words
from bincodec.generation.settings import SamplingPlan, SamplingSettings
from bincodec.model.weights import Model

MAX_COUNT = 1_000_000

Watch = Callable[[BinaryCode], None]
"""A function that is called with the present code: after each step of the diffusion sampler, or once after
the last pass of the autoregressive sampler."""


@dataclasses.dataclass(frozen=True)
class Completed:
    """A code with all layers of the model, some of them sampled.

    Args:
        code: the code.
        real_layers: the number of layers, from the first, that are not sampled.
        real_share: their share of the bits (`Codec.cost`), 0..1. If the missing layers are unknown, the bits
            of layers that are sampled at temperature 1 are used for them.
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
    """Draw `count` codes of pictures of `size` (width, height) in pixels from the prior."""
    card, (width, height) = model.card, size
    count = checked_integer("count", count, 1, MAX_COUNT)
    plans = [settings.with_class(card, image).plan(card) for image in range(count)]
    architecture, grid = card.architecture, grid_of(width, height)
    nothing = tuple(np.zeros((channels, *grid), np.uint8) for channels in architecture.layer_channels)
    blank = BinaryCode(
        nothing, architecture.maximum_level, width, height, quality, card.name, card.fingerprint
    )
    return [_draw(model, blank, plan, image, watch=watch) for image, plan in enumerate(plans)]


def inpaint(
    model: Model,
    code: BinaryCode,
    known: Mask,
    count: int,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """Draw `count` codes that agree with `code` at the `known` positions (h, w) and are new elsewhere."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    plan = settings.plan(model.card)
    require_whole(model, code)
    code, hole = without_unknown(code), Hole(code.levels, known)
    return [_draw(model, code, plan, image, hole=hole, watch=watch) for image in range(count)]


def vary(
    model: Model,
    code: BinaryCode,
    strength: float,
    count: int,
    settings: SamplingSettings,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """Draw `count` codes similar to `code`: noise of time `strength`, 0..1, is added and removed again."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    checked_number("strength", strength, 1.0)
    if settings.sampler == "autoregressive":
        msg = "sampler 'autoregressive' cannot vary a picture: only 'diffusion' can start from one"
        raise InvalidSetting(msg)
    plan = dataclasses.replace(settings, sampler="diffusion").plan(model.card)
    require_whole(model, code)
    # Without noise, the levels stay as they are, and so does what belongs to them.
    code = _without_old_extras(code) if strength > 0 else code
    return [_draw(model, code, plan, image, strength=strength, watch=watch) for image in range(count)]


def complete(model: Model, code: BinaryCode, layers: int | None, settings: SamplingSettings) -> Completed:
    """Sample all layers of a code after the first `layers`, and the layers that some of its tiles lack.

    There is no guidance, as what is drawn is to fit to what is known.
    """
    code.check_model(model.card)
    real = checked_integer("layers", code.layers if layers is None else layers, 1, code.layers)
    every = model.card.architecture.layers
    if real == every and code.tile_layers is None:
        return Completed(code, real, 1.0)
    plan = dataclasses.replace(settings.plan(model.card), guidance=0.0)
    whole = _continued(model, code, real, plan)
    # The bits of missing layers are those of the code if it has them, else of a draw at temperature 1.
    measured = code
    if code.layers < every or code.tile_layers is not None:
        measured = _continued(model, code, real, dataclasses.replace(plan, temperature=1.0))
    bits = cost(model.prior, measured)
    known = _known(code, real, every)
    share = float(bits[known].sum() / bits.sum())
    return Completed(_without_old_extras(whole), int(known.all((1, 2)).argmin()), share)


def _known(code: BinaryCode, layers: int, every: int) -> Mask:
    """Return where a code has each of its first `layers` layers, bool (every, h, w)."""
    known = np.zeros((every, *code.grid), np.bool_)
    for tile in code.tiles:
        known[: min(layers, code.layers_of(tile)), *tile.place] = True
    return known


def steps_of(model: Model, settings: SamplingSettings) -> int:
    """Return how often `watch` is called for a picture.

    Raises:
        InvalidSetting: if the settings do not fit the model.
    """
    plan = settings.plan(model.card)
    return plan.steps if plan.sampler == "diffusion" else 1


def require_whole(model: Model, code: BinaryCode) -> None:
    """Raise `WrongModel` if `code` is of another model, and `InvalidSetting` if it lacks any layers."""
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
    """Return `code` with new levels: picture number `image` of the plan's seed."""
    for levels in _states(model, code, plan, image, strength, hole):
        code = dataclasses.replace(code, levels=levels)
        if watch is not None:
            watch(code)
    return code


def _states(
    model: Model, code: BinaryCode, plan: SamplingPlan, image: int, strength: float, hole: Hole | None
) -> Iterator[tuple[Levels, ...]]:
    """Yield the levels after each step. Diffusion starts from the code at time `strength` (1: pure noise)."""
    words = Words(plan.seed, image)
    if plan.sampler == "autoregressive":
        prior = _steered(model, plan, plan.temperature, plan.guidance)
        yield samplers.autoregressive(prior, code.quality, code.grid, words, steps=plan.steps, hole=hole)
        return
    keep = samplers.keeps(plan.schedule, plan.steps, strength)
    levels = samplers.add_noise(code.levels, code.maximum, keep[0], words)
    for step, pair in enumerate(itertools.pairwise(keep)):
        guidance = plan.guidance_at(1 - strength + strength * step / plan.steps)
        prior = _steered(model, plan, plan.temperature_of(step), guidance)
        (levels,) = samplers.denoise(prior, code.quality, levels, pair, words, hole, plan.renewal)
        yield levels


def _continued(model: Model, code: BinaryCode, layers: int, plan: SamplingPlan) -> BinaryCode:
    """Return the first `layers` layers of a code, with all other layers, and those that tiles lack, drawn."""
    prior, words = _steered(model, plan, plan.temperature, plan.guidance), Words(plan.seed)
    architecture = model.card.architecture
    if code.tile_layers is None:
        levels = samplers.autoregressive(prior, code.quality, code.grid, words, given=code.levels[:layers])
    else:
        hole = Hole(code.levels, _known(code, layers, architecture.layers))
        levels = samplers.autoregressive(prior, code.quality, code.grid, words, hole=hole)
    return dataclasses.replace(code, levels=levels, maximum=architecture.maximum_level, tile_layers=None)


def _steered(model: Model, plan: SamplingPlan, temperature: float, guidance: float) -> Tempered:
    prior: Predictor = model.prior
    if plan.label or guidance:
        prior = Guided(model.prior, plan.label, guidance, plan.guided_by)
    return Tempered(prior, temperature)


def _without_old_extras(code: BinaryCode) -> BinaryCode:
    """Return a code without what belongs to other levels than those that are drawn.

    The post-filter was fitted to them, and an extra of an unknown kind may depend on them.
    """
    code = without_unknown(code)
    return dataclasses.replace(
        code, extras=tuple(extra for extra in code.extras if extra.kind != POST_FILTER)
    )
