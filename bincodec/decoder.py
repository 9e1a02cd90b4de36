"""From a code back to a picture: the decoder's network, then the post-filter (DESIGN §3).

Float, like the encoder: another machine may round a pixel differently. Levels that a file does not hold, or
that are not asked for, enter as the prior's expectation, so every prefix of a file is a picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bincodec.code import BinaryCode
from bincodec.coding import passes
from bincodec.io.images import Pixels
from bincodec.model.architecture import QUALITIES
from bincodec.model.card import MAIN_DECODER
from bincodec.model.weights import Model
from bincodec.postfilter.filter import apply_filter, read_filter


def reconstruct(model: Model, code: BinaryCode, layers: int, decoder: str = MAIN_DECODER) -> Pixels:
    """The picture of the first `layers` layers, uint8 (H, W, 3), or (H, W, 1) where it is grey.

    The post-filter was fitted to the picture of all layers by the main decoder, so only that goes through it.

    Raises:
        Corrupt: if the code's post-filter cannot be read; a file's always can.
    """
    decoded = synthesise(model, code, layers, decoder)
    if layers == model.card.architecture.layers and decoder == MAIN_DECODER:
        decoded = apply_filter(decoded, read_filter(code.ancillary))
    if code.grey:
        decoded = decoded[..., :1]
    return np.round(255 * decoded.clip(0, 1)).astype(np.uint8)


@torch.inference_mode()
def synthesise(
    model: Model, code: BinaryCode, layers: int, decoder: str = MAIN_DECODER
) -> npt.NDArray[np.float32]:
    """Pixels (H, W, 3), nominally in 0..1, of the first `layers` layers before the post-filter.

    Of a grey picture all three colours are their mean.
    """
    levels = centred_levels(model, code, layers).to(model.device)[None]
    quality = levels.new_full((1,), code.quality / (QUALITIES - 1))
    image = model.autoencoders[decoder].synthesise(levels, quality)
    cropped = image[0, :, : code.height, : code.width].permute(1, 2, 0)
    if code.grey:
        cropped = cropped.mean(2, keepdim=True).expand(-1, -1, 3)
    return cropped.cpu().contiguous().numpy()


def centred_levels(model: Model, code: BinaryCode, layers: int) -> Tensor:
    """Centred levels (channels, h, w) of the first `layers` layers, expectations of the others."""
    known = [
        torch.from_numpy(part.astype(np.float32)) - top / 2
        for part, top in zip(code.levels[:layers], code.maximum, strict=False)
    ]
    missing: list[Tensor] = []
    if layers < model.card.architecture.layers:
        missing = passes.expected(model.prior, code.quality, code.levels[:layers])
    return torch.cat([*known, *missing])
