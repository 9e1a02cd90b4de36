"""From levels to colours: the decoder, a network in floating point (MODEL, "The decoder network").

Arrays are (rows, columns, channels), float64. With another precision, colours differ very little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .model_file import MAIN_DECODER, Model

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, Floats]


def decoder_weights(model: Model) -> Weights:
    """Return the main decoder's tensors as numbers, by their names without that of the decoder."""
    own = {n.removeprefix(MAIN_DECODER): t for n, t in model.tensors.items() if n.startswith(MAIN_DECODER)}
    return {
        name: tensor.astype(np.float64) * own.get(f"{name}.scale", np.float64(1))
        for name, tensor in own.items()
        if not name.endswith(".scale")
    }


def synthesise(model: Model, centred: Floats, quality: int) -> Floats:
    """Return colours (16 rows, 16 columns, 3), about 0..1, of centred levels (channels, rows, columns)."""
    architecture, weights = model.architecture, decoder_weights(model)
    values = np.moveaxis(centred, 0, 2) * inverse_gains(weights, quality)
    x = _pointwise(weights, "decoder.stem", values)
    x = _modulate(weights, "decoder.modulation_16", x, quality)
    for i in range(architecture.blocks_16):
        x = _block(weights, f"decoder.blocks_16.{i}", x)
    x = pixel_shuffle(_pointwise(weights, "decoder.up", x), 2)
    x = _modulate(weights, "decoder.modulation_8", x, quality)
    for i in range(architecture.blocks_8):
        x = _block(weights, f"decoder.blocks_8.{i}", x)
    colours = pixel_shuffle(_pointwise(weights, "decoder.head", x), 8) + 0.5
    beyond = architecture.channels - architecture.width_16
    if beyond > 0:
        colours += pixel_shuffle(_pointwise(weights, "decoder.shortcut", values[..., -beyond:]), 16)
    return colours


def inverse_gains(weights: Weights, quality: int) -> Floats:
    """Return the factor of each channel: the logarithms of the knots, interpolated linearly over quality."""
    knots = weights["inverse_gains.log_gain"]
    place = quality / 100 * (len(knots) - 1)
    left = min(int(place), len(knots) - 2)
    share = place - left
    gains: Floats = np.exp((1 - share) * knots[left] + share * knots[left + 1])
    return gains


def pixel_shuffle(x: Floats, size: int) -> Floats:
    """Spread channels over size x size places. They are ordered by output channel, then row, then column."""
    rows, columns, inputs = x.shape
    split = x.reshape(rows, columns, inputs // size**2, size, size)
    return split.transpose(0, 3, 1, 4, 2).reshape(rows * size, columns * size, -1)


def _pointwise(weights: Weights, name: str, x: Floats) -> Floats:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _modulate(weights: Weights, name: str, x: Floats, quality: int) -> Floats:
    features = np.cos(np.pi * np.arange(8) * quality / 100)
    scale, shift = np.split(_pointwise(weights, f"{name}.linear", features), 2)
    return x * (1 + scale) + shift


def _block(weights: Weights, name: str, x: Floats) -> Floats:
    y = _depthwise(weights, f"{name}.depthwise", _relu(_pointwise(weights, f"{name}.spatial_in", x)))
    x = x + _pointwise(weights, f"{name}.spatial_out", y)
    y = _relu(_pointwise(weights, f"{name}.expand", x))
    return x + _pointwise(weights, f"{name}.contract", y)


def _depthwise(weights: Weights, name: str, x: Floats) -> Floats:
    """Convolve each channel with its own 3x3 weights. There are zeros outside the grid."""
    (rows, columns), taps = x.shape[:2], weights[f"{name}.weight"][:, 0]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    result = np.broadcast_to(weights[f"{name}.bias"], x.shape).copy()
    for down in range(3):
        for right in range(3):
            result += padded[down : down + rows, right : right + columns] * taps[:, down, right]
    return result


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0)
