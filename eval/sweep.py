"""Rate and distortion of codecs over images and settings: real files, decoded again, one row each."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from bincodec import images
from bincodec.bitstream.errors import BincodecError
from bincodec.eval.metrics import psnr
from bincodec.eval.peers import Peer, Pixels


@dataclass(frozen=True)
class Row:
    """One image, one codec, one setting. `psnr` is in dB, inf where nothing was lost."""

    image: str
    codec: str
    setting: int
    width: int
    height: int
    bytes: int
    bits_per_pixel: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Failure:
    """A cell without a result. `codec` and `setting` are None where the image itself could not be read."""

    image: str
    reason: str
    codec: str | None = None
    setting: int | None = None


@dataclass(frozen=True)
class Point:
    """Means over images of one codec's values at one setting."""

    codec: str
    setting: int
    images: int
    bits_per_pixel: float
    psnr: float


@dataclass(frozen=True)
class Sweep:
    """All cells of a run."""

    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]


def read(paths: Sequence[str]) -> tuple[dict[str, Pixels], list[Failure]]:
    """Pixels by path, in order; what cannot be read is a `Failure`."""
    pictures: dict[str, Pixels] = {}
    failures = []
    for path in paths:
        try:
            pictures[path] = images.load(path).pixels
        except BincodecError as error:
            failures.append(Failure(path, str(error)))
    return pictures, failures


def sweep(
    pictures: Mapping[str, Pixels],
    peers: Sequence[Peer],
    settings: Mapping[str, Sequence[int]] | None = None,
    *,
    progress: bool = False,
) -> Sweep:
    """Encode and decode every picture with every codec at every setting.

    `settings` replaces the default grid of the codecs it names. A codec that raises loses that cell only.
    """
    cells = [
        (image, peer, setting)
        for image in pictures
        for peer in peers
        for setting in (settings or {}).get(peer.name, peer.settings)
    ]
    rows: list[Row] = []
    failures: list[Failure] = []
    for image, peer, setting in tqdm(cells, desc="files", unit="file", disable=None if progress else True):
        try:
            rows.append(measure(image, pictures[image], peer, setting))
        except Exception as error:  # Whatever a codec raises, the other cells are worth having.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            failures.append(Failure(image, reason, peer.name, setting))
    return Sweep(tuple(rows), tuple(failures))


def measure(image: str, pixels: Pixels, peer: Peer, setting: int) -> Row:
    """One cell of a sweep."""
    start = time.perf_counter()
    data = peer.encode(pixels, setting)
    encoded = time.perf_counter()
    decoded = peer.decode(data)
    end = time.perf_counter()
    height, width, _ = pixels.shape
    return Row(
        image,
        peer.name,
        setting,
        width,
        height,
        len(data),
        8 * len(data) / (width * height),
        psnr(pixels, decoded),
        encoded - start,
        end - encoded,
    )


def means(rows: Sequence[Row]) -> list[Point]:
    """Means of per-image values, in the order of the rows.

    A setting that lacks an image which other rows have is left out: its mean would be over other pictures.
    """
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.codec, row.setting), []).append(row)
    everything = {row.image for row in rows}
    return [
        Point(
            codec,
            setting,
            len(found),
            sum(row.bits_per_pixel for row in found) / len(found),
            sum(row.psnr for row in found) / len(found),
        )
        for (codec, setting), found in cells.items()
        if {row.image for row in found} == everything
    ]
