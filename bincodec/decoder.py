"""Turn a code into a picture: the decoder's network, then the post-filter (DESIGN §3).

This part computes in floating point, like the encoder, so another machine may round a pixel differently.
Levels that are missing from a file, or that are not asked for, are replaced by the prior's expectation. Every
prefix of a file is therefore a picture. A large picture is decoded in windows, several at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bincodec.arguments import Region
from bincodec.bitstream.tiles import POSITION, Tile
from bincodec.code import BinaryCode, Mask
from bincodec.coding import passes
from bincodec.io.images import Pixels
from bincodec.model.architecture import QUALITIES
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.decoders import MAIN, DecoderChoice
from bincodec.model.weights import Model
from bincodec.postfilter.features import View
from bincodec.postfilter.filter import apply_filter, read_filter
from bincodec.windows import Window, covering, of_pixels, overlap
from bincodec.workers import in_order

MARGIN = 1
"""The positions around a window that are decoded for the post-filter: 16 pixels, of which it reads 8."""
_ROUNDS = 1000
"""The rounds of `spread_out`. They are enough for a tile: a few hundred more would only halve the error."""


def reconstruct(
    model: Model, code: BinaryCode, layers: int, decoder: DecoderChoice = MAIN, region: Region | None = None
) -> Pixels:
    """Return the picture of the first `layers` layers, or a region of it, uint8.

    It is (H, W, 3), or (H, W, 1) if the code is grey. The post-filter was fitted to the picture of all layers
    by the main decoder, so it is applied to pictures of all layers only. For a decoder between the main one
    and another one, what the filter adds fades with the share of the main one.

    Raises:
        Corrupt: if the post-filter of the code cannot be read. That of a file can always be read.
    """
    left, top, width, height = region or (0, 0, code.width, code.height)
    filtered = layers == model.card.architecture.layers and decoder.share < 1
    autoencoder = model.decoders.network(decoder)
    post_filter = read_filter(code.extras) if filtered else None
    area = of_pixels(left, top, width, height)
    shown = Shown(model, code, layers, needed(model, code.grid, area))
    result = np.empty((height, width, 1 if code.grey else 3), np.uint8)

    def part(window: Window) -> tuple[View, npt.NDArray[np.uint8]]:
        decoded, view = synthesise(shown, window, autoencoder)
        pixels = apply_filter(decoded, post_filter, view, 1 - decoder.share)[..., : result.shape[2]]
        return view, np.round(255 * pixels.clip(0, 1)).astype(np.uint8)

    for view, pixels in in_order("decode", part, covering(area), model.device):
        rows = range(max(view.rows.start, top), min(view.rows.stop, top + height))
        columns = range(max(view.columns.start, left), min(view.columns.stop, left + width))
        result[_slice(rows, top), _slice(columns, left)] = pixels[
            _slice(rows, view.rows.start), _slice(columns, view.columns.start)
        ]
    return result


def needed(model: Model, grid: tuple[int, int], area: Window) -> Window:
    """Return the window of all positions whose levels can influence the pixels of an area."""
    return area.grown(model.card.architecture.decoder_reach + MARGIN, grid)


def synthesise(
    shown: Shown, window: Window, autoencoder: Autoencoder | None = None
) -> tuple[npt.NDArray[np.float32], View]:
    """Decode a window, and the pixels around it that the post-filter reads, without applying the filter.

    The decoder is that of `autoencoder`, or the main one.

    Return the pixels, float32 (h, w, 3), about 0..1, and their place in the picture. If the picture is grey,
    each of the three colours is replaced by their mean.
    """
    code, model = shown.code, shown.model
    around = window.grown(MARGIN, code.grid)
    seen = needed(model, code.grid, window)
    levels = shown.centred(seen).to(model.device)[None]
    quality = levels.new_full((1,), code.quality / (QUALITIES - 1))
    with torch.inference_mode():
        image = (autoencoder or model.autoencoder).synthesise(levels, quality)[0]
        rows, columns = around.within(seen)
        image = image[:, _pixels(rows), _pixels(columns)].permute(1, 2, 0)
        if code.grey:
            image = image.mean(2, keepdim=True).expand(-1, -1, 3)
        top, left = around.top * POSITION, around.left * POSITION
        view = View(top, left, code.height, code.width, *window.pixels(code.height, code.width))
        return image[: code.height - top, : code.width - left].cpu().contiguous().numpy(), view


class Shown:
    """The levels that are shown: those of a code, and the prior's expectation where the code has none."""

    def __init__(self, model: Model, code: BinaryCode, layers: int, area: Window | None = None) -> None:
        """Show the first `layers` layers, in an `area` of the grid or in all of it."""
        self.model = model
        self.code = code
        self._layers = layers
        self._expected: dict[int, list[Tensor]] = {}
        area = area or Window(0, 0, *code.grid)
        tiles = [tile for tile in code.tiles if overlap(tile, area) and self._known(tile) < self._all]
        expected = in_order("expect what is missing", self._expectation, tiles, model.device)
        for tile, layers_beyond in zip(tiles, expected, strict=True):
            self._expected[tile.number] = layers_beyond

    @property
    def _all(self) -> int:
        return self.model.card.architecture.layers

    def _known(self, tile: Tile) -> int:
        return min(self._layers, self.code.layers_of(tile))

    def centred(self, window: Window) -> Tensor:
        """Return the centred levels of a window, float32 (channels, h, w)."""
        code, architecture = self.code, self.model.card.architecture
        rows, columns = window.place
        shape = architecture.channels, rows.stop - rows.start, columns.stop - columns.start
        result = torch.empty(shape, dtype=torch.float32)
        for layer in range(min(self._layers, code.layers)):
            known = torch.from_numpy(code.levels[layer][:, rows, columns]).float()
            result[architecture.layer_slice(layer)] = known - code.maximum[layer] / 2
        for tile in (tile for tile in self._tiles(window) if tile.number in self._expected):
            common = overlap(tile, window)
            assert common is not None
            inside, here = common.within(Window(*tile.bounds)), common.within(window)
            for back, part in enumerate(reversed(self._expected[tile.number])):
                channels = architecture.layer_slice(architecture.layers - 1 - back)
                result[channels, *here] = part[:, *inside]
        return result

    def _tiles(self, window: Window) -> Iterable[Tile]:
        return (tile for tile in self.code.tiles if overlap(tile, window))

    def _expectation(self, tile: Tile) -> list[Tensor]:
        """Return the prior's expectation of a tile's missing layers, given its other layers and what is near.

        Far from everything that is known, the prior would expect the grey mean of all pictures. If a tile has
        no layers, its first layer is therefore interpolated from its surroundings, and the prior predicts the
        other layers from it.
        """
        code, architecture = self.code, self.model.card.architecture
        own = Window(*tile.bounds)
        window = own.grown(architecture.prior_reach, code.grid)
        shape = window.bottom - window.top, window.right - window.left
        context, known = passes.Context(architecture, *shape), np.zeros(shape, np.bool_)
        for near in self._tiles(window):
            common = overlap(near, window)
            assert common is not None
            place = common.within(window)
            known[place] = self._known(near) > 0
            for layer in range(self._known(near)):
                levels = code.levels[layer][:, *common.place]
                context.add(layer, _flat(place, shape[1]), levels.reshape(len(levels), -1))
        inside = own.within(window)
        positions, missing, spread = _flat(inside, shape[1]), self._known(tile), []
        if missing == 0 and known.any():
            first = spread_out(code.levels[0][:, *window.place], known)[:, *inside]
            levels = np.rint(first).astype(np.uint8).reshape(len(first), -1)
            context.add(0, positions, levels)
            spread.append(torch.from_numpy(first).float() - code.maximum[0] / 2)
            missing = 1
        prior = self.model.prior.untested()  # A small error in a picture would not matter.
        layers = range(missing, architecture.layers)
        found = passes.expected(prior, code.quality, context, positions, layers)
        return [*spread, *(part.reshape(-1, *tile.shape) for part in found)]


def spread_out(values: npt.NDArray[np.uint8], known: Mask) -> npt.NDArray[np.float64]:
    """Interpolate values (channels, h, w) so that each unknown value is the mean of its four neighbours.

    This is Jacobi's method for Laplace's equation. It starts from the mean of all known values.
    """
    mean = values[:, known].mean(1)[:, None, None]
    result = np.where(known, values.astype(np.float64), mean)
    for _ in range(_ROUNDS):
        wide = np.pad(result, ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:] + wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1]
        result[:, ~known] = around[:, ~known] / 4
    return result


def _pixels(positions: slice) -> slice:
    return slice(positions.start * POSITION, positions.stop * POSITION)


def _slice(inside: range, start: int) -> slice:
    return slice(inside.start - start, inside.stop - start)


def _flat(place: tuple[slice, slice], width: int) -> passes.Positions:
    """Return the flat indices of a rectangle in an array whose rows have `width` items."""
    rows, columns = (np.arange(part.start, part.stop) for part in place)
    result: passes.Positions = (rows[:, None] * width + columns).ravel()
    return result
