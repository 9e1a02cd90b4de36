"""From a model file and a `.bld` file to a picture, as a command. Run it in the folder `tests`:

    python -m reference.decode MODEL.safetensors FILE.bld [PICTURE.ppm]

It prints the SHA-256 of the levels and a line for each extra. It writes a PPM, a PGM if the picture is grey,
or a PAM if there is alpha.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .alpha import Plane, read_alpha
from .container import File, read_file
from .decoder_network import synthesise
from .errors import Refused, refuse
from .index import EXTRAS
from .integer_network import integer_network
from .levels import Levels
from .metadata import read_metadata
from .model_file import Model, read_model
from .order import grid_of
from .passes import centred_levels
from .payloads import check_length, decode_tile
from .post_filter import PostFilter, apply_post_filter, read_post_filter
from .probability import Tables, read_tables

TABLES = Path(__file__).resolve().parents[2] / "bitstream" / "probability_tables.zlib"

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The contents of a file: levels (channels, rows, columns) by layer, and pixels (rows, columns, samples).

    A pixel has three samples, or one if the picture is grey, and then one more for alpha, if there is any.
    `metadata` has those of colour profile, Exif and XMP that are there, by their names in `EXTRAS`. `extras`
    has the payloads of the file by their kinds.
    """

    levels: tuple[Levels, ...]
    pixels: Pixels
    metadata: dict[str, bytes]
    extras: dict[int, bytes]

    def digest(self) -> str:
        """Return the SHA-256 of the shape and the bytes of each layer's levels, in hexadecimal."""
        digest = hashlib.sha256()
        for levels in self.levels:
            digest.update(f"({', '.join(map(str, levels.shape))})".encode())
            digest.update(levels.astype("u1").tobytes())
        return digest.hexdigest()


def decode(model: Model, tables: Tables, data: bytes) -> Decoded:
    """Decode a whole file. Raise `Refused` if it is damaged or belongs to another model."""
    file = read_file(data)
    header, architecture = file.header, model.architecture
    if header.fingerprint != model.fingerprint:
        refuse("wrong model", f"the file is of model {header.fingerprint.hex()}")
    if header.layers > architecture.layers:
        refuse("corrupt", f"{header.layers} layers, more than the model has")
    post_filter = None if file.post_filter is None else read_post_filter(file.post_filter)
    size = header.width, header.height
    alpha = None if file.alpha is None else read_alpha(file.alpha, size)
    metadata = read_metadata(file.extras)
    levels = decode_levels(model, tables, file)
    pixels = picture_of(model, levels, header.quality, size, grey=header.grey, post_filter=post_filter)
    return Decoded(tuple(levels), with_alpha(pixels, alpha), metadata, file.extras)


def decode_levels(model: Model, tables: Tables, file: File) -> list[Levels]:
    """Return the levels of all tiles, put together layer by layer."""
    header, architecture, network = file.header, model.architecture, integer_network(model)
    places = header.tiles
    for tile, chunks in zip(places, file.tiles, strict=True):
        for chunk in chunks:
            check_length(architecture, chunk, tile.grid)
    grid = grid_of(header.width, header.height)
    levels = [np.zeros((architecture.layer_channels[i], *grid), np.int64) for i in range(header.layers)]
    for number, (tile, chunks) in enumerate(zip(places, file.tiles, strict=True)):
        for whole, part in zip(
            levels, decode_tile(network, tables, header, number, chunks, tile.grid), strict=True
        ):
            whole[:, tile.rows, tile.columns] = part
    return levels


def picture_of(
    model: Model,
    levels: Sequence[Levels],
    quality: int,
    size: tuple[int, int],
    *,
    grey: bool = False,
    post_filter: PostFilter | None = None,
) -> Pixels:
    """Return the picture of `size` (width, height) of the first layers: three colours, or one if grey."""
    centred = centred_levels(integer_network(model), levels, quality)
    colours = synthesise(model, centred, quality)[: size[1], : size[0]]
    if grey:
        colours = np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)
    if post_filter is not None and len(levels) == model.architecture.layers:
        colours = apply_post_filter(colours, post_filter)
    shown = colours[..., :1] if grey else colours
    pixels: Pixels = np.rint(255 * shown.clip(0, 1)).astype(np.uint8)
    return pixels


def with_alpha(pixels: Pixels, alpha: Plane | None) -> Pixels:
    """Return the pixels with one more sample each, if there is alpha."""
    return pixels if alpha is None else np.dstack([pixels, alpha])


def netpbm(pixels: Pixels) -> bytes:
    """Return the picture as a PPM, as a PGM if it is grey, or as a PAM if it has alpha."""
    height, width, samples = pixels.shape
    if samples in (2, 4):
        kind = "RGB_ALPHA" if samples == 4 else "GRAYSCALE_ALPHA"
        fields = f"WIDTH {width}\nHEIGHT {height}\nDEPTH {samples}\nMAXVAL 255\nTUPLTYPE {kind}\nENDHDR"
        return f"P7\n{fields}\n".encode() + pixels.tobytes()
    return f"P{6 if samples == 3 else 5}\n{width} {height}\n255\n".encode() + pixels.tobytes()


def main(arguments: list[str]) -> int:
    """Decode one file and print what its levels are."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    model, file, *pictures = map(Path, arguments)
    try:
        decoded = decode(read_model(model.read_bytes()), read_tables(TABLES.read_bytes()), file.read_bytes())
    except Refused as reason:
        print(f"{file}: {reason}", file=sys.stderr)
        return 1
    print(decoded.digest())
    for kind, payload in decoded.extras.items():
        print(f"extra {kind:#04x}, {EXTRAS.get(kind, 'unknown')}: {len(payload)} bytes")
    for picture in pictures:
        picture.write_bytes(netpbm(decoded.pixels))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
