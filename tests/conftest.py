"""Fixtures that the tests of several folders share."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from torch import Tensor

# What a developer has set must not change what is tested. The servers of the tests are on this machine.
for _name in ("BINCODEC_MODELS", "_BINCODEC_COMPLETE"):
    os.environ.pop(_name, None)
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# A failure occurs again on the next run. The duration of an example depends on other work of the machine.
settings.register_profile("bincodec", derandomize=True, deadline=None)
settings.load_profile("bincodec")


Forged = tuple[bytes, bool, int]
"""A chunk's payload, whether it claims to be raw, and the CRC of its levels."""


def forge_header(**changes: int | bytes) -> bytes:
    """Return a header with any fields and a valid checksum, laid out by hand. The default has two tiles."""
    fields: dict[str, int | bytes] = {
        "magic": b"\x93BLD\r\n\x1a\n",
        "major": 1,
        "minor": 0,
        "flags": 0,
        "width": 512,
        "height": 16,
        "quality": 50,
        "layers": 1,
        "side": 16,
        "reserved": 0,
        "fingerprint": bytes(range(8)),
    }
    assert not set(changes) - set(fields), f"a header has no {set(changes) - set(fields)}"
    packed = struct.pack("<8sBBHIIBBBB8s", *(fields | changes).values())
    return packed + u32(zlib.crc32(packed))


def forge(
    header: bytes,
    chunks: Sequence[Sequence[Forged]] = (),
    extras: Sequence[tuple[int, bytes]] = (),
    *,
    mask: bytes | None = None,
    index: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """Return a file with any content and valid checksums, laid out by hand.

    `chunks` are given by group and tile. The index describes them, or has `mask` as its groups, or is `index`
    altogether. Each group has one layer, except that the last one has all remaining layers. Extras whose kind
    has bit 0x40 stand before the levels.
    """
    crc = zlib.crc32(header[:32])
    layers = header[21]
    if mask is None:
        ends = {*range(1, len(chunks)), layers}
        mask = sum(1 << end - 1 for end in ends).to_bytes(-(-layers // 8), "little")
    if index is None:
        index = mask + number(len(extras))
        index += b"".join(bytes([kind]) + number(len(payload)) for kind, payload in extras)
        index += b"".join(number(2 * len(payload) + raw) for row in chunks for payload, raw, _ in row)
    before, after = [], []
    for kind, payload in extras:
        packed = payload + u32(zlib.crc32(bytes([kind]) + payload, crc))
        (before if kind & 0x40 else after).append(packed)
    levels = [
        forge_chunk(crc, group, tile, *chunk)
        for group, row in enumerate(chunks)
        for tile, chunk in enumerate(row)
    ]
    return b"".join([header, index, u32(zlib.crc32(index, crc)), *before, *levels, *after, tail])


def forge_chunk(crc: int, group: int, tile: int, payload: bytes, raw: bool, bits_crc: int) -> bytes:
    """Return a chunk behind a header with that CRC. Only the index says whether it is `raw`."""
    body = payload + u32(bits_crc)
    return body + u32(zlib.crc32(u32(group) + u32(tile) + body, crc))


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def number(value: int) -> bytes:
    """Return a number as the index stores it: seven bits a byte, lowest first, and bit 7 if one follows."""
    return bytes([value]) if value < 128 else bytes([value % 128 | 128]) + number(value // 128)


def repair(data: bytes, *, header: bool = True) -> bytes:
    """Compute all checksums of the header, the index and what is behind it again, as far as lengths allow."""
    fixed = bytearray(data)
    if header:
        fixed[32:36] = u32(zlib.crc32(fixed[:32]))
    crc = zlib.crc32(fixed[:32])
    found = _lengths(fixed)
    if found is None:
        return bytes(fixed)
    position, parts = found
    fixed[position : position + 4] = u32(zlib.crc32(fixed[36:position], crc))
    position += 4
    for prefix, size in parts:
        if position + size + 4 > len(fixed):
            break
        body = fixed[position : position + size]
        position += size + 4
        fixed[position - 4 : position] = u32(zlib.crc32(prefix + body, crc))
    return bytes(fixed)


def _lengths(data: bytes) -> tuple[int, list[tuple[bytes, int]]] | None:
    """Return the place of the index's checksum and, for all others, the bytes before each and its size."""
    if len(data) < 40:
        return None
    width, height = struct.unpack_from("<II", data, 12)
    layers, side = data[21], data[22]
    rest = iter(enumerate(data[36:], 36))

    def read() -> int:
        value = shift = 0
        while True:
            byte = next(rest)[1]
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    try:
        # A list, because a generator would turn the StopIteration of `rest` into another error.
        groups = sum([next(rest)[1].bit_count() for _ in range(-(-layers // 8))])
        extras = [(next(rest)[1], read()) for _ in range(read())]
        tiles = _parts(width, 16 * side) * _parts(height, 16 * side)
        places = itertools.product(range(groups), range(min(tiles, len(data))))
        chunks = [(u32(group) + u32(tile), read() // 2 + 4) for group, tile in places]
        position = next(rest)[0]
    except StopIteration:
        return None
    before = [(bytes([kind]), size) for kind, size in extras if kind & 0x40]
    after = [(bytes([kind]), size) for kind, size in extras if not kind & 0x40]
    return position, [*before, *chunks, *after]


def _parts(pixels: int, most: int) -> int:
    """Return how many parts of at most so many pixels make up that many, or many if there can be none."""
    return -(-pixels // most) if most else 2**32


@pytest.fixture(name="repair", scope="session")
def repair_fixture() -> Callable[..., bytes]:
    """Return `repair`, for modules that cannot import this one."""
    return repair


@pytest.fixture(name="forge_header", scope="session")
def forge_header_fixture() -> Callable[..., bytes]:
    """Return `forge_header`, for modules that cannot import this one."""
    return forge_header


@pytest.fixture(name="forge", scope="session")
def forge_fixture() -> Callable[..., bytes]:
    """Return `forge`, for modules that cannot import this one."""
    return forge


@pytest.fixture(scope="session")
def chunk_place() -> Callable[..., slice]:
    """Return the place of a chunk's payload in a file, by the chunk's group and tile."""
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
    """Return a model file of single bits with three classes and its own size, as random as `tiny-1`."""
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


@pytest.fixture(scope="session")
def two_decoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file like `tiny-1` with a decoder "realism" beside the main one, of other weights."""
    import torch

    from bincodec.model import weights
    from bincodec.model.card import read_card

    tiny = weights.load(read_card(Path(__file__).parent / "models" / "tiny-1.safetensors"))
    state, random = tiny.autoencoder.state_dict(), torch.Generator().manual_seed(5)
    other = {
        name: value * (1 + 0.3 * torch.randn(value.shape, generator=random)) for name, value in state.items()
    }
    path = tmp_path_factory.mktemp("two") / "two-1.safetensors"
    decoders, card = {"realism": other}, tiny.card
    weights.save(path, "two-1", card.architecture, state, tiny.prior.network, card.card, decoders)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Headless Chromium that keeps to itself; a test that needs it is skipped where there is none."""
    pytest.importorskip("selenium", reason="these tests of pages need the package selenium")
    from selenium import webdriver

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("these tests of pages need chromium and chromedriver on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "force-prefers-reduced-motion",
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


@pytest.fixture(scope="session")
def visit() -> Callable[[Chrome, str], None]:
    """Open an address, and wait until its page is whole.

    On a busy machine, `get` may return before the page is there, above all if the same page was open before.
    So an empty page comes between them.
    """

    def visit_page(browser: Chrome, address: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        def wait(where: str) -> None:
            there = f"return location.href {where} 'about:blank' && document.readyState === 'complete'"
            WebDriverWait(browser, 60, 0.05).until(lambda _: browser.execute_script(there))

        browser.get("about:blank")
        wait("===")
        browser.get(address)
        wait("!==")

    return visit_page


@pytest.fixture(scope="session")
def draw_lpips_weights() -> Callable[[Mapping[str, Sequence[int]]], dict[str, Tensor]]:
    """Draw weights of a network of LPIPS by their shapes.

    They are normal and keep the size of features, and the heads are positive as in a trained network.
    """
    import torch

    def draw(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(7)
        drawn = {
            name: torch.randn(tuple(shape), generator=generator) for name, shape in sorted(shapes.items())
        }
        for name, tensor in drawn.items():
            if name.startswith("lin"):
                tensor.abs_()
            elif tensor.dim() == 4:
                tensor.mul_((2 / tensor[0].numel()) ** 0.5)
            else:
                tensor.mul_(0.1)
        return drawn

    return draw


@pytest.fixture(scope="session")
def write_photos() -> Callable[[Path, Mapping[str, tuple[int, int, int, int]]], None]:
    """Return a function that writes parts of photos of scikit-image below a folder.

    It is given the left, upper, right and lower edge of each part by its file. The name of the file is that
    of the photo, such as "cats/chelsea.png".
    """
    from PIL import Image
    from skimage import data

    def write(folder: Path, parts: Mapping[str, tuple[int, int, int, int]]) -> None:
        for name, box in parts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(getattr(data, path.stem)()).crop(box).save(path)

    return write
