"""Makes the golden files: small `.bld` files of the tiny model, and `vectors.json` that says what is in them.

    python tests/vectors/make_vectors.py

Run it only when the format or the tiny model was changed on purpose: the files are what keeps them from
changing by accident.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from skimage import data as photos

from bincodec import BinaryCode, Codec
from bincodec.bitstream.container import Ancillary

FOLDER = Path(__file__).resolve().parent
MODEL = FOLDER.parent / "models" / "tiny-1.safetensors"


def cases(codec: Codec) -> Iterator[tuple[str, BinaryCode]]:
    """Name and code of every golden file."""
    for quality in (0, 50, 100):
        yield f"photo-q{quality}", plain(codec.encode(photos.astronaut()[100:180, 180:292], quality))
    yield "grey", plain(codec.encode(photos.camera()[200:261, 180:223], 75))
    yield "one-pixel", plain(codec.encode(np.full((1, 1, 3), 9, np.uint8), 33))
    yield "one-column", plain(codec.encode(photos.chelsea()[:200, 150:151], 66))
    yield "flat", codec.encode(np.full((20, 30, 3), (120, 100, 150), np.uint8), 50)
    photo = codec.encode(photos.coffee()[120:200, 240:340], 90)
    extra = (Ancillary(0x80, b"kept as it is"), Ancillary(0xBF, b""))
    yield "ancillary", dataclasses.replace(photo, ancillary=extra)
    yield "two-layers", dataclasses.replace(plain(photo), levels=photo.levels[:2], maximum=photo.maximum[:2])
    yield "raw", noise(photo)


def plain(code: BinaryCode) -> BinaryCode:
    """Layers and nothing else."""
    return dataclasses.replace(code, ancillary=())


def noise(code: BinaryCode) -> BinaryCode:
    """Levels that no prior predicts, so that they are stored raw."""
    rng = np.random.default_rng(4)
    levels = tuple(
        rng.integers(0, top + 1, part.shape, dtype=np.uint8)
        for part, top in zip(code.levels, code.maximum, strict=True)
    )
    return dataclasses.replace(plain(code), levels=levels)


def description(code: BinaryCode, data: bytes) -> dict[str, object]:
    """What a reader must find."""
    return {
        "bytes": len(data),
        "digest": code.digest(),
        "width": code.width,
        "height": code.height,
        "quality": code.quality,
        "layers": code.layers,
        "grey": code.grey,
        "ancillary": [[extra.kind, extra.payload.hex()] for extra in code.ancillary],
    }


def main() -> None:
    """Write the files beside this script."""
    codec = Codec.load(str(MODEL))
    files = {}
    for name, code in cases(codec):
        data = codec.pack(code, verify=True)
        (FOLDER / f"{name}.bld").write_bytes(data)
        files[name] = description(code, data)
        print(f"{name}.bld: {len(data)} bytes")
    record = {"fingerprint": codec.model.card.fingerprint.hex(), "files": files}
    (FOLDER / "vectors.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
