"""What people do with the samplers: draw pictures, fill holes, vary a picture, draw what a file lacks.

The draws themselves are `generate`'s (DESIGN §4); here pictures become codes and back. Picture number i of a
seed uses words of its own, so it is the same however many are drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bincodec.arguments import InvalidSetting, checked_integer, checked_number, checked_quality
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.code import BinaryCode, Levels, Mask
from bincodec.coding.passes import Predictor
from bincodec.generation import masks, samplers
from bincodec.generation.guidance import Guided, Tempered
from bincodec.generation.samplers import Hole, Words
from bincodec.generation.settings import SamplingPlan, SamplingSettings
from bincodec.io import images
from bincodec.model.architecture import grid_of
from bincodec.postfilter import filter

if TYPE_CHECKING:
    from bincodec.codec import Codec

MAX_COUNT = 1_000_000
GAP = 2

PillowImage = Image.Image
Source = images.Source | BinaryCode
Watch = Callable[[BinaryCode], None]
"""Called with the code as it stands after each step of the noise sampler, and once after reveal's last."""


@dataclasses.dataclass(frozen=True)
class Inpainted:
    """A picture with its hole painted.

    Args:
        image: the picture; where an image was given, its own pixels outside the mask.
        code: what was painted, as a code that packs like any other.
        known: the positions (h, w) that kept their bits.
    """

    image: Image.Image
    code: BinaryCode
    known: Mask


@dataclasses.dataclass(frozen=True)
class Completed:
    """A code whose layers are all there, some of them drawn.

    Args:
        code: all layers of the model.
        real_layers: how many, from the first, are not drawn.
        real_share: their part of the bits, at the prior's price (`Codec.cost`), 0..1. Where nobody knows what
            the missing layers were, they count as layers drawn at temperature 1 do.
    """

    code: BinaryCode
    real_layers: int
    real_share: float


def sample(
    codec: Codec,
    count: int,
    size: tuple[int, int] | None,
    quality: int,
    drawing: SamplingSettings,
    limits: Limits = DEFAULT_LIMITS,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """`count` pictures of `size` (width, height) drawn from the prior; as `Codec.sample`."""
    card = codec.model.card
    count = checked_integer("count", count, 1, MAX_COUNT)
    width, height = _checked_size(card.size if size is None else size, limits)
    quality = checked_quality(quality)
    plan = drawing.settled(card)
    architecture, grid = card.architecture, grid_of(width, height)
    nothing = tuple(np.zeros((channels, *grid), np.uint8) for channels in architecture.layer_channels)
    blank = BinaryCode(
        nothing, architecture.maximum_level, width, height, quality, card.name, card.fingerprint
    )
    return [_draw(codec, blank, plan, image, watch=watch) for image in range(count)]


def inpaint(
    codec: Codec,
    source: Source,
    mask: images.Source,
    quality: int,
    count: int,
    drawing: SamplingSettings,
    limits: Limits = DEFAULT_LIMITS,
    watch: Watch | None = None,
) -> list[Inpainted]:
    """`count` ways to paint the masked part of a picture; as `Codec.inpaint`."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    plan = drawing.settled(codec.model.card)
    original = None
    if isinstance(source, BinaryCode):
        code = _whole(codec, source)
        hole = masks.load(mask, code.width, code.height, limits)
    else:
        original = images.load(source, limits=limits)
        height, width = original.pixels.shape[:2]
        hole = masks.load(mask, width, height, limits)
        filled = images.to_image(masks.fill(original.pixels, hole), grey=original.grey)
        code = codec.encode(filled, quality, limits)
    known = masks.known_positions(hole)
    painted = []
    for image in range(count):
        new = _draw(codec, code, plan, image, hole=Hole(code.levels, known), watch=watch)
        picture = codec.decode(new)
        if original is not None:
            pixels = masks.blend(original.pixels, _as_pixels(picture), hole)
            picture = images.to_image(pixels, grey=original.grey)
        painted.append(Inpainted(picture, new, known))
    return painted


def vary(
    codec: Codec,
    source: Source,
    strength: float,
    quality: int,
    count: int,
    drawing: SamplingSettings,
    limits: Limits = DEFAULT_LIMITS,
    watch: Watch | None = None,
) -> list[BinaryCode]:
    """`count` pictures like a given one; as `Codec.vary`."""
    count = checked_integer("count", count, 1, MAX_COUNT)
    checked_number("strength", strength, 1.0)
    if drawing.sampler == "reveal":
        msg = "sampler 'reveal' cannot vary a picture: only 'noise' starts from one"
        raise InvalidSetting(msg)
    plan = dataclasses.replace(drawing, sampler="noise").settled(codec.model.card)
    code = _whole(codec, source) if isinstance(source, BinaryCode) else codec.encode(source, quality, limits)
    code = _without_correction(code)
    return [_draw(codec, code, plan, image, strength=strength, watch=watch) for image in range(count)]


def complete(codec: Codec, code: BinaryCode, layers: int | None, drawing: SamplingSettings) -> Completed:
    """All layers of a code, those after the first `layers` drawn; as `Codec.complete`."""
    architecture = codec.model.card.architecture
    codec.check(code)
    real = checked_integer("layers", code.layers if layers is None else layers, 1, code.layers)
    if real == architecture.layers:
        return Completed(code, real, 1.0)
    plan = drawing.settled(codec.model.card)
    whole = _revealed(codec, code, real, plan)
    # What the missing bits cost: as they were, or as they would be if drawn at the prior's own temperature.
    priced = code
    if code.layers < architecture.layers:
        priced = _revealed(codec, code, real, dataclasses.replace(plan, temperature=1.0))
    bits = codec.cost(priced).sum((1, 2))
    return Completed(_without_correction(whole), real, float(bits[:real].sum() / bits.sum()))


def steps_of(codec: Codec, drawing: SamplingSettings) -> int:
    """How often `watch` is called for a picture.

    Raises:
        InvalidSetting: for a drawing that the model cannot do.
    """
    plan = drawing.settled(codec.model.card)
    return plan.steps if plan.sampler == "noise" else 1


def tiled_size(size: tuple[int, int], count: int, columns: int) -> tuple[int, int]:
    """Width and height of `count` pictures of `size` (width, height) that are `tiled`."""
    width, height = size
    return columns * (width + GAP) - GAP, -(-count // columns) * (height + GAP) - GAP


def tiled(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size in rows of `columns`, a white line of 2 pixels between them."""
    width, height = pictures[0].size
    result = Image.new("RGB", tiled_size((width, height), len(pictures), columns), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        result.paste(picture, (column * (width + GAP), row * (height + GAP)))
    return result


def _draw(
    codec: Codec,
    code: BinaryCode,
    plan: SamplingPlan,
    image: int,
    *,
    strength: float = 1.0,
    hole: Hole | None = None,
    watch: Watch | None = None,
) -> BinaryCode:
    """`code` with other levels: picture number `image` of the plan's seed."""
    for levels in _states(codec, code, plan, image, strength, hole):
        code = dataclasses.replace(code, levels=levels)
        if watch is not None:
            watch(code)
    return code


def _states(
    codec: Codec, code: BinaryCode, plan: SamplingPlan, image: int, strength: float, hole: Hole | None
) -> Iterator[tuple[Levels, ...]]:
    """The levels after each step; noise starts from the code's at time `strength` (1: nothing is left)."""
    prior, words = _steered(codec, plan), Words(plan.seed, image)
    if plan.sampler == "reveal":
        yield samplers.reveal(prior, code.quality, code.grid, words, steps=plan.steps, hole=hole)
        return
    keep = samplers.keeps(plan.schedule, plan.steps, strength)
    levels = samplers.add_noise(code.levels, code.maximum, keep[0], words)
    for pair in itertools.pairwise(keep):
        (levels,) = samplers.denoise(prior, code.quality, levels, pair, words, hole)
        yield levels


def _revealed(codec: Codec, code: BinaryCode, layers: int, plan: SamplingPlan) -> BinaryCode:
    """The first `layers` layers of a code, and all others drawn."""
    prior, words = _steered(codec, plan), Words(plan.seed)
    levels = samplers.reveal(prior, code.quality, code.grid, words, given=code.levels[:layers])
    return dataclasses.replace(code, levels=levels, maximum=codec.model.card.architecture.maximum_level)


def _steered(codec: Codec, plan: SamplingPlan) -> Tempered:
    prior: Predictor = codec.model.prior
    if plan.number:
        prior = Guided(codec.model.prior, plan.number, plan.guidance)
    return Tempered(prior, plan.temperature)


def _whole(codec: Codec, code: BinaryCode) -> BinaryCode:
    """`code`, if it is of the codec's model and has all layers."""
    codec.check(code)
    layers = codec.model.card.architecture.layers
    if code.layers < layers:
        msg = f"the code has {code.layers} of the model's {layers} layers: complete it first"
        raise InvalidSetting(msg)
    return code


def _without_correction(code: BinaryCode) -> BinaryCode:
    """The correction was measured on other levels: where all or most of them are drawn, it misleads."""
    return dataclasses.replace(code, ancillary=tuple(a for a in code.ancillary if a.kind != filter.KIND))


def _as_pixels(image: Image.Image) -> images.Pixels:
    """RGB (H, W, 3), of grey pictures as well."""
    return np.array(image.convert("RGB"))


def _checked_size(size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    """Width and height, if a picture of that size is within the limits."""
    try:
        width, height = size
    except (TypeError, ValueError) as error:
        msg = f"size {size!r} is not a width and a height"
        raise InvalidSetting(msg) from error
    width = checked_integer("width", width, 1, limits.side)
    height = checked_integer("height", height, 1, limits.side)
    if width * height > limits.pixels:
        msg = f"size {width} x {height}: {width * height} is over the limit pixels={limits.pixels}"
        raise InvalidSetting(msg)
    return width, height
