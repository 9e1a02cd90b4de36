"""Make the golden files of a new model: `python tests/golden/make_golden.py`.

For each shipped model, there are three pictures from scikit-image at three qualities: the file that the
encoder makes, the picture that it decodes to, and its bytes and decibels. Run the script by hand when a model
is added. It writes the files of models that have none. Those of other models never change, because the format
and every shipped model stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage import data

import bincodec
from bincodec import Codec

FOLDER = Path(__file__).parent
QUALITIES = (10, 50, 90)


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


def shipped() -> list[str]:
    """Return the names of the models in the package."""
    return sorted(card.name for card in bincodec.models() if card.path.parent.name == "weights")


def main() -> None:
    """Write FILE.bld and FILE.png for each picture and quality, and the measurements into golden.json."""
    measured = FOLDER / "golden.json"
    found = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    done = {name.rsplit("-", 2)[0] for name in found}
    for model in [name for name in shipped() if name not in done]:
        codec = Codec.load(model)
        for picture, pixels in pictures().items():
            for quality in QUALITIES:
                name = f"{model}-{picture}-{quality}"
                file = codec.compress(pixels, quality)
                image = codec.decompress(file)
                (FOLDER / f"{name}.bld").write_bytes(file)
                image.save(FOLDER / f"{name}.png", optimize=True)
                found[name] = {"bytes": len(file), "psnr": round(psnr(pixels, np.asarray(image)), 3)}
    measured.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
