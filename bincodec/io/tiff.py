"""Read the samples of TIFF files that Pillow refuses or reads wrongly.

These are samples of other than 8 bits, samples in separate planes, and grey with alpha. libtiff, which comes
with Pillow, unpacks them as plain bytes: it is given a part of the file as a TIFF of its own, whose directory
says that each row is a row of bytes. This module then gives the bytes their meaning
(docs/decisions/0022-pictures.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import TiffImagePlugin as Tiff
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from bincodec.io import depth, tiff_pages
from bincodec.io.depth import Tone
from bincodec.io.silence import silence
from bincodec.io.tiff_pages import Page

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
# The number of bytes that are converted at a time.
_PORTION = 2**22
_WIDEST_TILE = 4096
# For each byte, the byte with its bits in reverse order.
_TURNED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)), bitorder="little")
_MOST_BYTES = 2**29
_MOST_PARTS = 100_000


def read(page: Page, data: bytes, tone: Tone | None, notes: list[str]) -> Image.Image:
    """Return the samples of a page as an 8-bit image of mode L, LA, RGB, RGBA or CMYK.

    What the user should know is appended to `notes`.

    Raises:
        Unsupported: if the samples are of a kind that is not supported.
        OSError: if the data is damaged.
    """
    bits = tiff_pages.checked_bits(page)
    colours = tiff_pages.COLOURS[page.photometric]
    alpha = next((kind for kind in page.extra[:1] if kind in (tiff_pages.PREMULTIPLIED, tiff_pages.ALPHA)), 0)
    mode = _MODES[colours]
    alpha = alpha if mode in _WITH_ALPHA else 0
    mode = _WITH_ALPHA[mode] if alpha else mode
    wanted = colours + (1 if alpha else 0)
    if len(page.bits) > colours + (
        1 if page.extra[:1] in ((tiff_pages.PREMULTIPLIED,), (tiff_pages.ALPHA,)) else 0
    ):
        notes.append(f"{len(page.bits) - wanted} of the {len(page.bits)} samples of each pixel are left out")
    if bits > 8:
        notes.append(depth.reduced_note(bits))
    width, height = page.size
    pixels = Image.new(mode, page.size)
    for left, top, part in _parts(page, data, bits, wanted):
        samples, maximum = part[: height - top, : width - left], 2**bits - 1
        if bits > 16:  # A table of all values would be too large, and 16 bits are enough for rounding.
            samples, maximum = samples.astype(np.uint32) >> np.uint32(bits - 16), 65535
        samples = samples.astype(np.uint16)
        if page.photometric == tiff_pages.GREY_FROM_WHITE:
            samples[..., 0] = maximum - samples[..., 0]
        if alpha == tiff_pages.PREMULTIPLIED:
            samples = _divided(samples, maximum)
        pixels.paste(depth.reduced(samples, mode, maximum, tone), (left, top))
    return pixels


@dataclass(frozen=True)
class _Layout:
    """How the samples of a page are cut into parts, which are strips or tiles of `across` x `down` pixels.

    Args:
        offsets: where each part starts in the file, in bytes.
        sizes: the length of each part in bytes. It may be empty if the parts are not compressed.
        across: the width of a part in pixels.
        down: the height of a part in pixels.
        columns: the number of parts side by side.
        count: the number of parts of a plane.
        together: the number of samples of a pixel that stand side by side.
        planes: the numbers of the planes that are wanted.
        row_bytes: the number of bytes of a row of a part.
        tiled: whether the parts are tiles, which all have the same size.
        compressed: whether the parts are compressed.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    across: int
    down: int
    columns: int
    count: int
    together: int
    planes: range
    row_bytes: int
    tiled: bool
    compressed: bool


def _layout(page: Page, bits: int, wanted: int) -> _Layout:
    tags, (width, height) = page.tags, page.size
    tiled = Tiff.TILEOFFSETS in tags
    offsets = tuple(tags[Tiff.TILEOFFSETS if tiled else Tiff.STRIPOFFSETS])
    sizes = tuple(tags.get(Tiff.TILEBYTECOUNTS if tiled else Tiff.STRIPBYTECOUNTS, ()))
    across = int(tags[Tiff.TILEWIDTH] if tiled else width)
    down = int(tags[Tiff.TILELENGTH] if tiled else min(tags.get(Tiff.ROWSPERSTRIP, height), height))
    if not 1 <= across <= width + _WIDEST_TILE or not 1 <= down <= height + _WIDEST_TILE:
        msg = f"it has tiles of {across} x {down} pixels, which are not supported"
        raise tiff_pages.Unsupported(msg)
    columns = -(-width // across)
    count = columns * -(-height // down)
    if count > _MOST_PARTS:
        msg = f"it has {count} strips or tiles, which is over the limit of {_MOST_PARTS}"
        raise tiff_pages.Unsupported(msg)
    together, planes = (1, range(wanted)) if page.planes else (len(page.bits), range(1))
    compressed = tags.get(Tiff.COMPRESSION, 1) != tiff_pages.NOT_COMPRESSED
    if len(offsets) < count * len(planes) or (compressed and len(sizes) < len(offsets)):
        msg = "its directory names too few strips or tiles"
        raise OSError(msg)
    row_bytes = -(-across * together * bits // 8)
    if compressed and down * row_bytes > _MOST_BYTES:
        msg = f"it has a strip or tile of {down * row_bytes} bytes, which is over the limit of {_MOST_BYTES}"
        raise tiff_pages.Unsupported(msg)
    return _Layout(
        offsets, sizes, across, down, columns, count, together, planes, row_bytes, tiled, compressed
    )


def _parts(page: Page, data: bytes, bits: int, wanted: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield x, y and the samples (H, W, wanted) of each rectangle. It may reach beyond the picture."""
    layout = _layout(page, bits, wanted)
    height = page.size[1]
    portion = max(1, _PORTION // layout.row_bytes)
    for index in range(layout.count):
        left = layout.across * (index % layout.columns)
        top = layout.down * (index // layout.columns)
        # The last strip has only the rows that remain.
        lines = layout.down if layout.tiled else min(layout.down, height - top)
        layers = _layers(layout, page.tags, data, index, lines)
        for line in range(0, lines, portion):
            end = min(line + portion, lines)
            raw = [_rows(layer, line, end, layout.row_bytes) for layer in layers]
            parts = [_samples(rows, layout.across, layout.together, bits, page.tags) for rows in raw]
            part = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
            yield left, top + line, part[..., :wanted]


def _layers(
    layout: _Layout, tags: ImageFileDirectory_v2, data: bytes, index: int, lines: int
) -> list[Image.Image | NDArray[np.uint8]]:
    """Return the rows of bytes of one part, for each plane that is wanted."""
    found: list[Image.Image | NDArray[np.uint8]] = []
    for plane in layout.planes:
        number = plane * layout.count + index
        start = layout.offsets[number]
        if layout.compressed:
            packed = data[start : start + layout.sizes[number]]
            found.append(_unpacked(packed, layout.row_bytes, lines, tags))
        else:
            view = memoryview(data)[start : start + lines * layout.row_bytes]
            found.append(_plain_rows(view, layout.row_bytes, lines, tags))
    return found


def _plain_rows(
    packed: memoryview, row_bytes: int, rows: int, tags: ImageFileDirectory_v2
) -> NDArray[np.uint8]:
    """Return uncompressed bytes (rows, row_bytes), in which the first bit of each byte is the highest."""
    if len(packed) < rows * row_bytes:
        msg = "the file ends before the end of its pixels"
        raise OSError(msg)
    raw = np.frombuffer(packed, np.uint8).reshape(rows, row_bytes)
    return raw if tags.get(Tiff.FILLORDER, 1) != 2 else _TURNED[raw]


def _unpacked(packed: bytes, row_bytes: int, rows: int, tags: ImageFileDirectory_v2) -> Image.Image:
    """Return rows of bytes as an image. libtiff unpacks them from a TIFF that contains nothing else."""
    # Four bytes are one pixel where this is possible, because Pillow limits the number of pixels.
    many = row_bytes % 4 == 0 and tags.get(Tiff.FILLORDER, 1) == 1
    samples = 4 if many else 1
    entries = {
        Tiff.IMAGEWIDTH: row_bytes // samples,
        Tiff.IMAGELENGTH: rows,
        Tiff.BITSPERSAMPLE: 8,
        Tiff.COMPRESSION: tags[Tiff.COMPRESSION],
        Tiff.PHOTOMETRIC_INTERPRETATION: tiff_pages.CMYK if many else tiff_pages.GREY,
        Tiff.FILLORDER: tags.get(Tiff.FILLORDER, 1),
        Tiff.STRIPOFFSETS: 8,
        Tiff.SAMPLESPERPIXEL: samples,
        Tiff.ROWSPERSTRIP: rows,
        Tiff.STRIPBYTECOUNTS: len(packed),
    }
    packed += bytes(len(packed) % 2)
    place = 8 + len(packed)
    # The bits of four samples do not fit into the directory, so they stand behind it.
    behind = place + 2 + 12 * len(entries) + 4
    data = b"II*\0" + struct.pack("<I", place) + packed + struct.pack("<H", len(entries))
    for tag, value in entries.items():
        data += struct.pack(
            "<HHII", tag, *((3, 4, behind) if many and tag == Tiff.BITSPERSAMPLE else (4, 1, value))
        )
    data += bytes(4) + struct.pack("<4H", 8, 8, 8, 8)
    with silence():
        image = Image.open(BytesIO(data), formats=["TIFF"])
    with image:
        image.load()
    return image


def _rows(layer: Image.Image | NDArray[np.uint8], first: int, end: int, row_bytes: int) -> NDArray[np.uint8]:
    """Return the rows of bytes from `first` to before `end`, without a copy of all rows."""
    if isinstance(layer, Image.Image):
        layer = np.asarray(layer.crop((0, first, layer.width, end)))
        return layer.reshape(end - first, row_bytes)
    return layer[first:end]


def _samples(
    raw: NDArray[np.uint8], across: int, together: int, bits: int, tags: ImageFileDirectory_v2
) -> NDArray[Any]:
    """Return the samples (H, across, together) in rows of bytes."""
    order = ">" if tags.prefix.startswith(b"MM") else "<"
    shape = (len(raw), across, together)
    if bits in (8, 16, 32):
        samples = np.ascontiguousarray(raw).view(f"{order}u{bits // 8}").reshape(shape)
        differences = tags.get(Tiff.PREDICTOR, 1) == tiff_pages.HORIZONTAL
        if not differences or tags.get(Tiff.COMPRESSION, 1) == tiff_pages.NOT_COMPRESSED:
            return samples
        native = samples.astype(samples.dtype.newbyteorder("="))
        return np.cumsum(native, axis=1, dtype=native.dtype)
    each = np.unpackbits(raw, axis=1)[:, : across * together * bits].reshape(*shape, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    values: NDArray[np.uint16] = np.einsum("hwcb,b->hwc", each, weights, dtype=np.uint16, casting="unsafe")
    return values


def _divided(samples: NDArray[Any], maximum: int) -> NDArray[Any]:
    """Divide colours by their alpha, with which they were multiplied."""
    alpha = samples[..., -1:].astype(np.float64)
    colours = np.round(samples[..., :-1].astype(np.float64) * maximum / np.maximum(alpha, 1))
    result = samples.copy()
    result[..., :-1] = np.minimum(colours, maximum)
    return result
