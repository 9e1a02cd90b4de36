"""Measure what the decoder `realism` gains and gives up: python benchmarks/realism.py PHOTO...

For each quality and each `--realism`, the table gives means over the photos:

- bits per pixel of the whole file, which does not depend on the decoder;
- PSNR, MS-SSIM, LPIPS (AlexNet) and SSIMULACRA2 against the original;
- colour: the difference between the mean colours of both pictures in 8-bit steps, in the colour where it is
  largest;
- pattern: the mean error at each of the 16x16 places of the codec's grid, as a root mean square in 8-bit
  steps. A decoder that draws the same pattern at every position of the grid has a large value;
- Nyquist: the energy of the picture's luma at the three highest frequencies, divided by that of the original.
  A checkerboard of single pixels would raise it above 1.

The script needs the extra `eval`, the weights of LPIPS (BINCODEC_LPIPS_WEIGHTS), and the package
`ssimulacra2`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from default_quality import ssimulacra2
from numpy.typing import NDArray
from PIL import Image

from bincodec.bitstream.tiles import POSITION
from bincodec.codec import Codec
from bincodec.eval import lpips, metrics
from bincodec.eval.formats import Pixels

COLUMNS = (
    "bits per pixel",
    "PSNR, dB",
    "MS-SSIM",
    "LPIPS",
    "SSIMULACRA2",
    "colour",
    "pattern",
    "Nyquist",
)
FORMATS = ("{:.3f}", "{:.2f}", "{:.4f}", "{:.3f}", "{:.1f}", "{:.2f}", "{:.2f}", "{:.2f}")


def tiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the whole tiles of the grid of (H, W), as (tiles, 16, 16)."""
    rows, columns = (side // POSITION for side in values.shape)
    cut = values[: rows * POSITION, : columns * POSITION].reshape(rows, POSITION, columns, POSITION)
    return cut.transpose(0, 2, 1, 3).reshape(-1, POSITION, POSITION)


def luma(pixels: Pixels) -> NDArray[np.float64]:
    """Return the luma (H, W) of a picture (H, W, 3), in 0..255."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def colour_shift(original: Pixels, decoded: Pixels) -> float:
    """Return the largest difference between the mean colours of two pictures, in 8-bit steps."""
    return float(np.abs(decoded.mean((0, 1)) - original.mean((0, 1))).max())


def pattern(original: Pixels, decoded: Pixels) -> float:
    """Return the root mean square of the mean error at each place of the grid, in 8-bit steps."""
    mean = tiles(luma(decoded) - luma(original)).mean(0)
    return float(np.sqrt(np.mean((mean - mean.mean()) ** 2)))


def nyquist(pixels: Pixels) -> float:
    """Return the mean energy of a picture's tiles at the frequencies (8, 0), (0, 8) and (8, 8) of 16."""
    spectrum = np.fft.fft2(tiles(luma(pixels)))
    half = POSITION // 2
    return float(
        sum(np.mean(np.abs(spectrum[:, y, x]) ** 2) for y, x in ((half, 0), (0, half), (half, half)))
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--qualities", nargs="+", type=int, default=[28, 37, 47])
    parser.add_argument("--realism", nargs="+", type=float, default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--model", default="photo")
    chosen = parser.parse_args()
    codec, (_, distance) = Codec.load(chosen.model), lpips.load()
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in chosen.photos]
    print("quality | realism |", " | ".join(COLUMNS))
    print("---: | ---: |", " | ".join("---:" for _ in COLUMNS), flush=True)
    for quality in chosen.qualities:
        coded = [codec.encode(photo, quality) for photo in photos]
        rates = [8 * len(codec.pack(code)) / (code.width * code.height) for code in coded]
        for realism in chosen.realism:
            rows = []
            for photo, code, rate in zip(photos, coded, rates, strict=True):
                decoded = np.asarray(codec.decode(code, realism=realism).convert("RGB"))
                row = [rate, metrics.psnr(photo, decoded), metrics.ms_ssim(photo, decoded)]
                row += [distance(photo, decoded), ssimulacra2(photo, decoded)]
                row += [colour_shift(photo, decoded), pattern(photo, decoded)]
                rows.append([*row, nyquist(decoded) / nyquist(photo)])
            means = [layout.format(mean) for layout, mean in zip(FORMATS, np.mean(rows, 0), strict=True)]
            print(f"{quality} | {realism:g} |", " | ".join(means), flush=True)


if __name__ == "__main__":
    main()
