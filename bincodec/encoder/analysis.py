"""From a picture to its code: the encoder's network, the search if it is wanted, the post-filter (DESIGN §3).

This is the float side of the codec: its rounding may differ from machine to machine. A file holds the levels
that came out here, and from there on everything is exact.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt
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
from bincodec.postfilter.fit import fit_filter
from bincodec.windows import Window, covering
from bincodec.workers import in_order

FITTED_PIXELS = 2**20
"""As many as a post-filter is fitted to, about: fewer leave it worse, more cost time and gain little."""


def encode(
    model: Model, picture: Picture, quality: float, rounds: int, tile_side: int = DEFAULT_SIDE
) -> BinaryCode:
    """The code of a picture at `quality` 0..100, after `rounds` of search, with its post-filter.

    A quality between two integers is the encoder's alone: the code names the nearest one, by which it is
    packed and decoded.

    Raises:
        InvalidSetting: if there are rounds, and the model does not say its multipliers.
    """
    height, width = picture.pixels.shape[:2]
    weight = error_weight(model.card, quality)
    if rounds and weight is None:
        msg = f"model {model.card.name} does not say its Lagrange multipliers: only effort 0"
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
    for window, found in in_order("analyse", part, windows, model.device):
        for whole, layer in zip(levels, found, strict=True):
            whole[:, *window.place] = layer
    return levels


def _fitted(model: Model, code: BinaryCode, original: Pixels, weight: float) -> BinaryCode:
    """A code with its post-filter; that of a large one is fitted to strips that lie all over it."""
    shown, every = Shown(model, code, code.layers), max(1, code.width * code.height // FITTED_PIXELS)

    def part(window: Window) -> tuple[npt.NDArray[np.float32], View]:
        decoded, view = synthesise(shown, window)
        return decoded, dataclasses.replace(view, every=every)

    parts = in_order("fit the post-filter", part, covering(Window(0, 0, *code.grid)), model.device)
    return dataclasses.replace(code, extras=fit_filter(original, parts, weight))


def _searched(model: Model, code: BinaryCode, original: Pixels, weight: float, rounds: int) -> BinaryCode:
    """A code of one tile after a search, with the post-filter that was fitted along with its levels."""
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
    """Search one of several tiles: its levels change in place, all around it and the post-filter stay.

    Its pixels, and those around that it reaches, count; what the decoder must see of their surroundings is
    shown to it as well.
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
    """What the post-filter of a code adds where it counts to a part of the decoded picture, (1, 3, H, W)."""
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


def error_weight(card: ModelCard, quality: float) -> float | None:
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
