"""Turn a picture into a code: the encoder's network, an optional search, and the post-filter (DESIGN §3).

This part computes in floating point, so its rounding may differ between machines. A file holds the levels
that it returns, and everything after that is exact.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.tiles import DEFAULT_SIDE, Tile, grid_of
from bincodec.code import BinaryCode, Levels
from bincodec.decoder import Shown, synthesise
from bincodec.encoder import search
from bincodec.errors import InvalidSetting
from bincodec.io.images import Picture, Pixels
from bincodec.model.architecture import QUALITIES, STRIDE
from bincodec.model.card import ModelCard
from bincodec.model.weights import Model
from bincodec.postfilter.features import View
from bincodec.postfilter.filter import apply_filter, read_filter
from bincodec.postfilter.fit import Moments, fit_filter, fit_moments, moments_of
from bincodec.windows import Window, covering
from bincodec.workers import in_order

FITTED_PIXELS = 2**20
"""About how many pixels a post-filter is fitted to. Fewer make it worse; more take time and gain little."""


def encode(
    model: Model, picture: Picture, quality: float, rounds: int, tile_side: int = DEFAULT_SIDE
) -> BinaryCode:
    """Return the code of a picture at `quality` 0..100, after `rounds` of search, with its post-filter.

    `tile_side` is the largest side of a tile in positions. A quality between two integers is used by the
    encoder only: the code names the nearest integer, with which it is packed and decoded.

    Raises:
        InvalidSetting: if a search is asked for and the model card has no Lagrange multipliers.
    """
    height, width = picture.pixels.shape[:2]
    weight = error_weight(model.card, quality)
    if rounds and weight is None:
        msg = f"model {model.card.name} has no Lagrange multipliers in its card: only effort 0 is possible"
        raise InvalidSetting(msg)
    code = BinaryCode(
        _analysed(model, picture.pixels, quality),
        model.card.architecture.maximum_level,
        width,
        height,
        round(quality),
        model.card.name,
        model.card.fingerprint,
        picture.grey,
        tile_side=tile_side,
    )
    if rounds and len(code.tiles) == 1:
        return _searched(model, code, picture.pixels, weight or 0.0, rounds)
    code = _fitted(model, code, picture.pixels, weight or 0.0)
    if rounds:
        for tile in code.tiles:
            _search_tile(model, code, tile, picture.pixels, weight or 0.0, rounds)
        code = _fitted(model, code, picture.pixels, weight or 0.0)
    return code


def _analysed(model: Model, pixels: Pixels, quality: float) -> tuple[Levels, ...]:
    """Return the levels that the encoder's network gives, by layer. It processes window by window."""
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
    for window, found in in_order("analyse", part, windows, model.device):
        for whole, layer in zip(levels, found, strict=True):
            whole[:, *window.place] = layer
    return levels


def _fitted(model: Model, code: BinaryCode, original: Pixels, weight: float) -> BinaryCode:
    """Return a code with its post-filter. In a large picture, it is fitted to strips spread all over it."""
    shown, every = Shown(model, code, code.layers), max(1, code.width * code.height // FITTED_PIXELS)

    def part(window: Window) -> Moments:
        decoded, view = synthesise(shown, window)
        return moments_of(original, decoded, dataclasses.replace(view, every=every))

    parts = in_order("fit the post-filter", part, covering(Window(0, 0, *code.grid)), model.device)
    moments = functools.reduce(operator.add, parts).extrapolated(code.width * code.height)
    return dataclasses.replace(code, extras=fit_moments(moments, weight))


def _searched(model: Model, code: BinaryCode, original: Pixels, weight: float, rounds: int) -> BinaryCode:
    """Return a code of one tile after a search, with the post-filter that was fitted during the search."""
    autoencoder, image = model.autoencoder, padded(original, model.device)
    fitting = functools.partial(_fit, original, weight)
    target = search.Target(image, code.height, code.width, code.quality, weight, fitting, code.grey)
    with torch.no_grad():
        centred = Shown(model, code, code.layers).centred(target.grid).to(model.device)[None]
        centred, extras = search.search(autoencoder, model.prior, centred, target, rounds)
    return dataclasses.replace(code, levels=autoencoder.levels_of(centred), extras=extras)


def _search_tile(
    model: Model, code: BinaryCode, tile: Tile, original: Pixels, weight: float, rounds: int
) -> None:
    """Search one of several tiles. Its levels change in place; other tiles and the post-filter do not.

    The error counts in all pixels that the levels of the tile can influence. The decoder also receives the
    surroundings of these pixels, as far as they have an influence on them.
    """
    reach = model.card.architecture.decoder_reach
    own = Window(*tile.bounds)
    counted, seen = own.grown(reach, code.grid), own.grown(2 * reach, code.grid)
    rows, columns = seen.pixels(code.height, code.width)
    image = padded(original[rows.start : rows.stop, columns.start : columns.stop], model.device)
    target = search.Target(
        image,
        len(rows),
        len(columns),
        code.quality,
        weight,
        functools.partial(_filtered, code, seen, counted),
        code.grey,
        own.moved(seen),
        counted.moved(seen),
    )
    with torch.no_grad():
        centred = Shown(model, code, code.layers, seen).centred(seen).to(model.device)[None]
        centred, _ = search.search(model.autoencoder, model.prior, centred, target, rounds)
    found = model.autoencoder.levels_of(centred[..., *own.within(seen)])
    for levels, part in zip(code.levels, found, strict=True):
        levels[:, *tile.place] = part


def _filtered(code: BinaryCode, seen: Window, counted: Window, shown: Tensor) -> search.Fitted:
    """Return what the post-filter of a code adds to a part of the picture, (1, 3, H, W).

    `shown` holds the decoded pixels of the window `seen`. Outside the window `counted`, the result is 0.
    """
    rows, columns = counted.pixels(code.height, code.width)
    view = View(seen.top * STRIDE, seen.left * STRIDE, code.height, code.width, rows, columns)
    decoded = shown[0].permute(1, 2, 0).cpu().contiguous().numpy()
    added = torch.zeros_like(shown)
    down, right = rows.start - view.top, columns.start - view.left
    inside = slice(down, down + len(rows)), slice(right, right + len(columns))
    filtered = apply_filter(decoded, read_filter(code.extras), view) - decoded[inside]
    added[0, :, *inside] = torch.from_numpy(filtered).permute(2, 0, 1).to(shown.device)
    return added, ()


def _fit(original: Pixels, weight: float, shown: Tensor) -> search.Fitted:
    """Fit the post-filter of a decoded picture (1, 3, H, W) to the `original` (height, width, 3).

    Return what the filter adds to the picture, and the extras that hold the filter.
    """
    height, width = original.shape[:2]
    decoded = shown[0, :, :height, :width].permute(1, 2, 0).cpu().contiguous().numpy()
    chunks = fit_filter(original, decoded, weight)
    added = torch.from_numpy(apply_filter(decoded, read_filter(chunks)) - decoded)
    margins = (0, shown.shape[3] - width, 0, shown.shape[2] - height)
    return functional.pad(added.permute(2, 0, 1)[None].to(shown.device), margins), chunks


def padded(pixels: Pixels, device: str) -> Tensor:
    """Return pixels as (1, 3, H, W) in 0..1, with sides padded to multiples of 16 by the last pixels."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    image = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(device)
    return (image.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)


def error_weight(card: ModelCard, quality: float) -> float | None:
    """Return the bits that a squared error of 1, summed over pixels and colours, is worth at `quality`.

    This follows from the lambda that the model was trained with (DESIGN §3). Return None if the card does not
    contain it.
    """
    try:
        lowest, highest = (float(value) for value in card.card["lambda_range"])
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 < lowest <= highest < math.inf:
        return None
    multiplier: float = lowest * (highest / lowest) ** (quality / (QUALITIES - 1))
    return multiplier * 255**2 / 3
