"""Make the golden files of the shipped models again: `python tests/golden/make_golden.py`.

For each shipped model, there are three pictures from scikit-image at three qualities: the file that the
encoder makes, the picture that it decodes to, and its bytes and decibels. Run the script by hand when a model
is replaced, and say so in the commit. Any other change of these files is a mistake, which they exist to show.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage import data

from bincodec import Codec

FOLDER = Path(__file__).parent
QUALITIES = (10, 50, 90)
MODELS = ("photo-8", "clothing-1")


def pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """Parts of astronaut (NASA, public domain), coffee and chelsea (CC0). No side is a multiple of 32."""
    return {
        "astronaut": np.ascontiguousarray(data.astronaut()[60:150, 150:270]),
        "coffee": np.ascontiguousarray(data.coffee()[150:246, 220:340]),
        "chelsea": np.ascontiguousarray(data.chelsea()[80:171, 100:229]),
    }


def psnr(original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8]) -> float:
    """Return decibels over all pixels and colours."""
    error = np.mean((original.astype(np.float64) - decoded) ** 2)
    return float(10 * np.log10(255**2 / error))


def main() -> None:
    """Write FILE.bld and FILE.png for each of them, and golden.json with the measurements."""
    found = {}
    for old in (*FOLDER.glob("*.bld"), *FOLDER.glob("*.png")):
        old.unlink()
    for model in MODELS:
        codec = Codec.load(model)
        for picture, pixels in pictures().items():
            for quality in QUALITIES:
                name = f"{model}-{picture}-{quality}"
                file = codec.compress(pixels, quality)
                image = codec.decompress(file)
                (FOLDER / f"{name}.bld").write_bytes(file)
                image.save(FOLDER / f"{name}.png", optimize=True)
                found[name] = {"bytes": len(file), "psnr": round(psnr(pixels, np.asarray(image)), 3)}
    (FOLDER / "golden.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
