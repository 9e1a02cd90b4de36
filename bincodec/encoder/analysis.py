"""From a picture to its code: the encoder's network, the search if it is wanted, the post-filter (DESIGN §3).

This is the float side of the codec: its rounding may differ from machine to machine. A file holds the levels
that came out here, and from there on everything is exact.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.arguments import checked_search
from bincodec.bitstream.container import Extra
from bincodec.bitstream.tiles import DEFAULT_SIDE, grid_of
from bincodec.code import BinaryCode, Levels
from bincodec.decoder import Shown, synthesise
from bincodec.encoder import search
from bincodec.errors import InvalidSetting
from bincodec.io.images import Picture, Pixels
from bincodec.model.architecture import QUALITIES, STRIDE
from bincodec.model.card import ModelCard
from bincodec.model.weights import Model
from bincodec.postfilter.filter import apply_filter, read_filter
from bincodec.postfilter.fit import fit_filter
from bincodec.windows import Window, covering, sample
from bincodec.workers import in_order


def encode(
    model: Model, picture: Picture, quality: int, rounds: int, tile_side: int = DEFAULT_SIDE
) -> BinaryCode:
    """The code of a picture at `quality` 0..100, after `rounds` of search, with its post-filter.

    Raises:
        InvalidSetting: if there are rounds, and the image is too large for them or the model does not say its
            multipliers.
    """
    height, width = picture.pixels.shape[:2]
    weight = error_weight(model.card, quality)
    if rounds:
        checked_search(width * height)
        if weight is None:
            msg = f"model {model.card.name} does not say its Lagrange multipliers: only effort 0"
            raise InvalidSetting(msg)
        levels, extras = _searched(model, picture, quality, weight, rounds)
    else:
        levels, extras = _analysed(model, picture.pixels, quality), None
    code = BinaryCode(
        levels,
        model.card.architecture.maximum_level,
        width,
        height,
        quality,
        model.card.name,
        model.card.fingerprint,
        picture.grey,
        extras or (),
        tile_side,
    )
    if extras is None:
        code = dataclasses.replace(code, extras=_fitted(model, code, picture.pixels, weight or 0.0))
    return code


def _analysed(model: Model, pixels: Pixels, quality: int) -> tuple[Levels, ...]:
    """The encoder's guess of the levels, by layer, window by window."""
    height, width = pixels.shape[:2]
    grid, architecture = grid_of(width, height), model.card.architecture

    def part(window: Window) -> tuple[Window, tuple[Levels, ...]]:
        seen = window.grown(architecture.encoder_reach, grid)
        rows, columns = seen.pixels(height, width)
        image = padded(pixels[rows.start : rows.stop, columns.start : columns.stop], model.device)
        autoencoder = model.autoencoder
        with torch.inference_mode():
            value = autoencoder.analyse(image, image.new_full((1,), quality / (QUALITIES - 1)))
            centred = autoencoder.quantise(value[..., *window.within(seen)])
        return window, autoencoder.levels_of(centred)

    windows = covering(Window(0, 0, *grid))
    levels = tuple(np.empty((channels, *grid), np.uint8) for channels in architecture.layer_channels)
    for window, found in in_order(part, windows, model.device):
        for whole, layer in zip(levels, found, strict=True):
            whole[:, *window.place] = layer
    return levels


def _fitted(model: Model, code: BinaryCode, original: Pixels, weight: float) -> tuple[Extra, ...]:
    """The post-filter of a code; of a large one it is fitted to a sample of its windows."""
    shown = Shown(model, code, code.layers)
    parts = in_order(functools.partial(synthesise, shown), sample(code.grid), model.device)
    return fit_filter(original, parts, weight)


def _searched(
    model: Model, picture: Picture, quality: int, weight: float, rounds: int
) -> tuple[tuple[Levels, ...], tuple[Extra, ...]]:
    """Levels by layer after a search, and the post-filter that goes with them."""
    autoencoder, (height, width) = model.autoencoder, picture.pixels.shape[:2]
    fitting = functools.partial(_fit, picture.pixels, weight)
    image = padded(picture.pixels, model.device)
    target = search.Target(image, height, width, quality, weight, fitting, picture.grey)
    with torch.no_grad():
        centred = autoencoder.quantise(autoencoder.analyse(image, target.at))
        centred, extras = search.search(autoencoder, model.prior, centred, target, rounds)
    return autoencoder.levels_of(centred), extras


def _fit(original: Pixels, weight: float, shown: Tensor) -> search.Fitted:
    """Fit the post-filter of a decoded picture (1, 3, H, W) to the `original` (height, width, 3)."""
    height, width = original.shape[:2]
    decoded = shown[0, :, :height, :width].permute(1, 2, 0).cpu().contiguous().numpy()
    chunks = fit_filter(original, decoded, weight)
    added = torch.from_numpy(apply_filter(decoded, read_filter(chunks)) - decoded)
    margins = (0, shown.shape[3] - width, 0, shown.shape[2] - height)
    return functional.pad(added.permute(2, 0, 1)[None].to(shown.device), margins), chunks


def padded(pixels: Pixels, device: str) -> Tensor:
    """Pixels as (1, 3, H, W) in 0..1, both sides continued to multiples of 16 by their last pixels."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    image = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(device)
    return (image.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)


def error_weight(card: ModelCard, quality: int) -> float | None:
    """Bits that a squared error of 1, summed over pixels and colours, is worth at `quality`.

    By the multiplier lambda that the model was trained with (DESIGN §3); None if its card does not say.
    """
    try:
        lowest, highest = (float(value) for value in card.card["lambda_range"])
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 < lowest <= highest < math.inf:
        return None
    multiplier: float = lowest * (highest / lowest) ** (quality / (QUALITIES - 1))
    return multiplier * 255**2 / 3
