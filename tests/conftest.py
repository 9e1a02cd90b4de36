"""What the tests of several folders share."""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does: time is measured in benchmarks.
settings.register_profile("bincodec", deadline=None)
settings.load_profile("bincodec")


def repair(data: bytes, *, header: bool = True) -> bytes:
    """Recompute the checksums of the header, the index, and all that it names, as far as its lengths lead."""
    fixed = bytearray(data)
    if header:
        fixed[32:36] = zlib.crc32(fixed[:32]).to_bytes(4, "little")
    begin = zlib.crc32(fixed[:32])
    with suppress(IndexError, ZeroDivisionError):  # The index ends too soon, or tiles have no size.
        for start, stop, place in _checked_parts(fixed):
            if stop + 4 > len(fixed):
                break
            crc = zlib.crc32(fixed[start:stop], zlib.crc32(place, begin))
            fixed[stop : stop + 4] = crc.to_bytes(4, "little")
    return bytes(fixed)


def _checked_parts(data: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """From where to where each checksum behind the header reaches, and what stands before that in it."""
    width, height, _, layers, side = struct.unpack_from("<IIBBB", data, 12)
    rows, columns = (-(-pixels // 16) for pixels in (height, width))
    tiles = -(-rows // side) * -(-columns // side)
    position = 36 + -(-layers // 8)
    groups = int.from_bytes(data[36:position], "little").bit_count()

    def byte() -> int:
        nonlocal position
        position += 1
        return data[position - 1]

    def number() -> int:
        value, shift = 0, 0
        while (part := byte()) & 0x80:
            value, shift = value | (part & 0x7F) << shift, shift + 7
        return value | part << shift

    extras = [(byte(), number()) for _ in range(number())]
    chunks = [(group, tile, number() >> 1) for group in range(groups) for tile in range(tiles)]
    yield 36, position, b""
    parts = [(length + 4, struct.pack("<II", group, tile)) for group, tile, length in chunks]
    before, after = (
        [(length, bytes([kind])) for kind, length in extras if bool(kind & 0x40) == leading]
        for leading in (True, False)
    )
    position += 4
    for length, place in (*before, *parts, *after):
        yield position, position + length, place
        position += length + 4


@pytest.fixture(name="repair", scope="session")
def repair_fixture() -> Callable[..., bytes]:
    """`repair`, for modules that cannot import this one."""
    return repair


@pytest.fixture(scope="session")
def chunk_place() -> Callable[..., slice]:
    """Where the payload of a chunk stands in a file, by the chunk's group and tile."""
    from bincodec.bitstream import container
    from bincodec.bitstream.index import CHUNK_TAIL

    def place(data: bytes, group: int, tile: int = 0) -> slice:
        header, index, position = container.read_index(container.Memory(data))
        before = index.leading + group * len(header.tiles) + tile
        *others, size = itertools.islice(index.sizes(), before + 1)
        start = position + sum(others)
        return slice(start, start + size - CHUNK_TAIL)

    return place


@pytest.fixture(scope="session")
def bits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of single bits with three classes and a size of its own, as random as `tiny-1`."""
    import torch

    from bincodec.model import weights
    from bincodec.model.architecture import Architecture
    from bincodec.model.autoencoder import Autoencoder
    from bincodec.model.prior import Prior
    from bincodec.train.quantise import QuantisedPrior, RangeRecorder

    architecture = Architecture((2, 3), (1, 1), (2, 1), "logistic", "value", 8, 12, 1, 1, 16, 2, classes=3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        autoencoder, prior = Autoencoder(architecture), Prior(architecture)
        with torch.no_grad():
            for name, parameter in prior.named_parameters():
                if name.startswith(("head", "stem_class")):
                    parameter.normal_(0, 0.3)
            recorder = RangeRecorder(prior)
            context = torch.randint(-1, 2, (8, 5, 12, 12)) / 2
            prior(context, torch.ones(8, 2, 12, 12), torch.linspace(0, 1, 8), torch.arange(8) % 4)
    recorder.close()
    network = QuantisedPrior(prior, architecture, recorder.ranges).export()
    path = tmp_path_factory.mktemp("bits") / "bits-1.safetensors"
    card = {"classes": ["cat", "dog", "not sure"], "size": [48, 32]}
    weights.save(path, "bits-1", architecture, autoencoder.state_dict(), network, card)
    return path
