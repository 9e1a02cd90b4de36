"""Count the silent hidden units of a model's blocks: python benchmarks/silent_units.py PHOTO...

The table has a row for each layer before a ReLU in encoder and decoder. It gives the number of units, how
many are silent at every position of all photos at qualities 10, 50 and 90, and the mean share of positions at
which a unit is active.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from bincodec import Codec
from bincodec.encoder.analysis import padded
from bincodec.io import images
from bincodec.model.autoencoder import Block

QUALITIES = (10, 50, 90)


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", default="photo")
    chosen = parser.parse_args()
    autoencoder = Codec.load(chosen.model).model.autoencoder
    active: dict[str, Tensor] = {}
    positions: dict[str, int] = {}

    def watch(name: str, result: Tensor) -> None:
        speaks = (result > 0).sum((0, 2, 3)).double()
        active[name] = active.get(name, torch.zeros_like(speaks)) + speaks
        positions[name] = positions.get(name, 0) + result[:, 0].numel()

    for name, block in autoencoder.named_modules():
        if isinstance(block, Block):
            for part in ("spatial_in", "expand"):
                layer: nn.Module = getattr(block, part)
                layer.register_forward_hook(lambda _, __, result, n=f"{name}.{part}": watch(n, result))
    for photo in chosen.photos:
        image = padded(images.load_opaque(photo), "cpu")
        for quality in QUALITIES:
            at = image.new_full((1,), quality / 100)
            autoencoder.synthesise(autoencoder.quantise(autoencoder.analyse(image, at)), at)
    print("layer | units | silent | speaking")
    for name, count in active.items():
        share = (count / positions[name]).mean()
        print(f"{name} | {len(count)} | {int((count == 0).sum())} | {share:.1%}")


if __name__ == "__main__":
    main()
