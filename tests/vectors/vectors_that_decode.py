"""Test vectors that every reader must decode."""

import dataclasses
from collections.abc import Iterator
from unittest import mock

import numpy as np
from PIL import ImageCms
from skimage import data as photos
from vector_case import Case, crop, encoded, two_tiles

from bincodec import BinaryCode, Codec
from bincodec.bitstream import extras, stream
from bincodec.bitstream.container import Extra
from bincodec.postfilter.filter import PostFilter


def must_decode(codec: Codec) -> Iterator[Case]:
    """Yield files that every reader must decode."""
    photo = crop(photos.coffee(), 120, 240, 48, 70)
    plain, filtered = encoded(codec, photo, 50), codec.encode(photo, 50)
    unknown = (Extra(0xFF, b"before"), *filtered.extras, Extra(0xBF, b""))
    column = np.ascontiguousarray(np.tile(photos.chelsea()[:, 150:151], (2, 1, 1))[:600])
    codes = {
        "photo-q0": ("the lowest quality", encoded(codec, photo, 0)),
        "photo-q50": ("a photo in colour, one tile, one chunk", plain),
        "photo-q100": ("the highest quality", encoded(codec, photo, 100)),
        "tiles-across": ("two tiles of 9 and 10 columns: no tile is a sliver", two_tiles(codec)),
        "tiles-both-ways": (
            "four tiles of a grey picture, each with its own chunk",
            encoded(codec, crop(photos.camera(), 100, 100, 257, 258), 50, tile_side=16),
        ),
        "odd-sides": (
            "sides that are no multiples of 16: what lies beyond them is cut off",
            encoded(codec, crop(photos.astronaut(), 60, 190, 37, 51), 75),
        ),
        "grey": ("a grey picture", encoded(codec, crop(photos.camera(), 200, 180, 45, 43), 75)),
        "one-pixel": ("the smallest picture", encoded(codec, np.full((1, 1, 3), 9, np.uint8), 33)),
        "one-column": (
            "1 x 600 pixels in three tiles, which have few positions in each pass or none",
            encoded(codec, column, 66, tile_side=16),
        ),
        "flat": (
            "one colour, with a post-filter of offsets and weights that the encoder fitted",
            codec.encode(np.full((20, 30, 3), (120, 100, 150), np.uint8), 50),
        ),
        "post-filter": ("a photo with a post-filter of the encoder's", filtered),
        "post-filter-large": (
            "a post-filter with small weights of both signs for all 56 features",
            dataclasses.replace(plain, extras=(Extra(0x81, all_features()),)),
        ),
        "two-layers": (
            "the first two of three layers; the third is what the prior expects, and no post-filter applies",
            dataclasses.replace(filtered, levels=plain.levels[:2], maximum=plain.maximum[:2]),
        ),
        "one-layer": (
            "the first of three layers",
            dataclasses.replace(plain, levels=plain.levels[:1], maximum=plain.maximum[:1]),
        ),
        "raw": ("levels that no prior predicts, stored raw", noise(plain)),
        "extras": (
            "data of two unknown kinds, before and behind the levels: ignored, and kept where it is",
            dataclasses.replace(filtered, extras=unknown),
        ),
    }
    for name, (shows, code) in codes.items():
        yield Case("must-decode", name, shows, codec.pack(code, verify=True))
    for name, (shows, beside, grey) in beside_the_levels().items():
        levels = encoded(codec, crop(photos.camera(), 200, 180, 45, 43), 75) if grey else plain
        held = tuple(Extra(kind, payload) for kind, payload in extras.payloads(beside))
        file = codec.pack(dataclasses.replace(levels, extras=held), verify=True)
        yield Case("must-decode", name, shows, file)
    with mock.patch.object(stream, "GROUP_BYTES", 0):
        grouped = codec.pack(two_tiles(codec))
    shows = "each layer of each tile in a chunk of its own, where our writer would have put all into one"
    yield Case("must-decode", "groups", shows, grouped, packs_again=False)
    shows = "version 1.9 with an unknown ancillary extra: a reader of 1.0 shows the picture, and keeps both"
    later = dataclasses.replace(plain, extras=(Extra(0xFF, b"new in 1.9"),), minor_version=9)
    yield Case("must-decode", "later-minor-version", shows, codec.pack(later, verify=True))


def beside_the_levels() -> dict[str, tuple[str, extras.Extras, bool]]:
    """Return alpha and metadata: what each shows, what it holds, and whether the grey picture has it."""
    rows, columns = np.mgrid[:48, :70]
    distance = np.hypot(rows - 24, columns - 35)
    soft = ((22 - distance) * 60).clip(0, 255).astype(np.uint8)
    gradient = (3 * rows + columns).astype(np.uint8)
    hard = np.where(np.hypot(rows - 24, columns - 20) < 15, 255, 0)[:45, :43].astype(np.uint8)
    half = np.where(columns < 35, 255, 128).astype(np.uint8)
    return {
        "alpha": ("alpha with a soft edge, coded from coarse to fine", extras.Extras(alpha=soft), False),
        "alpha-deflated": (
            "alpha that repeats, deflated as differences",
            extras.Extras(alpha=gradient),
            False,
        ),
        "alpha-grey": ("a grey picture with alpha that is 0 or 255", extras.Extras(alpha=hard), True),
        "metadata": (
            "a colour profile, Exif and XMP",
            extras.Extras(icc=profile(), exif=EXIF, xmp=XMP),
            False,
        ),
        "alpha-and-metadata": (
            "alpha, a colour profile and Exif, in the order of a file",
            extras.Extras(alpha=half, icc=profile(), exif=EXIF),
            False,
        ),
    }


EXIF = bytes.fromhex("49492a0008000000010012010300010000000100000000000000")
"""An Exif block, little-endian, with one entry: the picture is upright."""
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def profile() -> bytes:
    """Return an sRGB profile whose date (bytes 24 to 35) does not depend on the day."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + bytes(12) + made[36:]


def all_features() -> bytes:
    """Return a post-filter's payload, made by hand."""
    weights = np.random.default_rng(2).integers(-9, 10, (3, 56))
    return PostFilter(np.array([64, -100, 3]), tuple(range(56)), weights, 8).payload()


def noise(code: BinaryCode) -> BinaryCode:
    """Return levels that no prior predicts, so that they are stored raw."""
    rng = np.random.default_rng(4)
    levels = tuple(
        rng.integers(0, top + 1, part.shape, dtype=np.uint8)
        for part, top in zip(code.levels, code.maximum, strict=True)
    )
    return dataclasses.replace(code, levels=levels)
