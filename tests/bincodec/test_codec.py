"""From a picture to a file and back, and everything that can happen to the file in between."""

import dataclasses
import functools
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photos

import bincodec
from bincodec import (
    BinaryCode,
    BincodecError,
    Codec,
    InvalidSetting,
    UnknownModel,
    VerificationFailed,
    WrongModel,
    decoder,
)
from bincodec.bitstream import container, stream
from bincodec.bitstream.container import Chunk, Extra, Memory
from bincodec.bitstream.index import POST_FILTER
from bincodec.bitstream.limits import Limits
from bincodec.coding import packing
from bincodec.errors import BitsMismatch, TooLarge, Truncated
from bincodec.model import kernels
from bincodec.model.kernels import IntegerPrior
from bincodec.windows import Window

MODELS = Path(__file__).resolve().parents[1] / "models"
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
QUALITIES = (0, 17, 33, 50, 67, 83, 100)
OVERHEAD = 96
"""Bytes; and 0.1 % of the file."""


@functools.cache
def photo(name: str, width: int, height: int) -> np.ndarray:
    """The middle of a photo, (height, width, 3) or, for `camera`, (height, width)."""
    pixels = getattr(photos, name)()
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def noise(width: int, height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_code(codec: Codec, width: int, height: int, seed: int) -> BinaryCode:
    """A code that no encoder would make: every level equally likely, the outermost included."""
    rng = np.random.default_rng(seed)
    code = codec.encode(np.zeros((height, width, 3), np.uint8), int(rng.integers(0, 101)))
    levels = tuple(
        rng.integers(0, top + 1, part.shape, dtype=np.uint8)
        for part, top in zip(code.levels, code.maximum, strict=True)
    )
    return dataclasses.replace(code, levels=levels)


def same_levels(first: BinaryCode, second: BinaryCode) -> bool:
    return len(first.levels) == len(second.levels) and all(
        np.array_equal(a, b) for a, b in zip(first.levels, second.levels, strict=True)
    )


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.fixture(scope="session")
def code(codec: Codec) -> BinaryCode:
    return codec.encode(photo("astronaut", 64, 48), 60)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in which each layer is a group of its own, which otherwise takes a large picture."""
    monkeypatch.setattr(stream, "GROUP_BYTES", 0)


def chunks_of(data: bytes) -> list[Chunk]:
    """The chunks of a whole file, in its order."""
    rows = container.read(Memory(data)).chunks
    return [chunk for row in rows for chunk in row if chunk is not None]


# --- round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_photos_round_trip(codec: Codec, name: str, quality: int) -> None:
    picture = photo(name, 64, 48)
    code = codec.encode(picture, quality)
    data = codec.pack(code, verify=True)
    found = codec.unpack(data)
    assert same_levels(found, code)
    assert (found.width, found.height, found.quality, found.grey) == (64, 48, quality, False)
    assert (found.intact, found.maximum, found.model) == (True, (6, 3, 1), "tiny-1")
    assert codec.pack(found) == data
    image = codec.decode(found)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.array_equal(pixels_of(image), pixels_of(codec.decode(code)))
    assert image.info["bld"] == {
        "model": "tiny-1",
        "quality": quality,
        "layers": 3,
        "decoder": "fidelity",
        "realism": 0.0,
        "intact": True,
        "damage": (),
        "real_layers": 3,
        "real_share": 1.0,
    }


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100), st.integers(0, 9))
@example(1, 1, 0, 0)
@example(1, 40, 100, 1)
@example(16, 16, 50, 2)
@example(17, 33, 50, 3)
def test_any_size_round_trips(codec: Codec, width: int, height: int, quality: int, seed: int) -> None:
    code = codec.encode(noise(width, height, seed), quality)
    assert code.grid == (-(-height // 16), -(-width // 16))
    data = codec.pack(code)
    found = codec.unpack(data)
    assert same_levels(found, code)
    assert codec.pack(found) == data
    assert codec.decode(found).size == (width, height)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 1000))
def test_any_levels_round_trip(codec: Codec, width: int, height: int, seed: int) -> None:
    code = random_code(codec, width, height, seed)
    data = codec.pack(code)
    found = codec.unpack(data)
    assert same_levels(found, code)
    assert codec.pack(found) == data


def test_encoding_uses_the_levels_range(codec: Codec, code: BinaryCode) -> None:
    """The tiny model is no good at photos, but its codes are not constant: there is something to lose."""
    assert [part.shape for part in code.levels] == [(2, 3, 4), (3, 3, 4), (4, 3, 4)]
    assert all(len(np.unique(part)) > 1 for part in code.levels)
    assert not same_levels(code, codec.encode(photo("astronaut", 64, 48), 0))
    assert not same_levels(code, codec.encode(photo("chelsea", 64, 48), 60))


@pytest.mark.parametrize("source", ["array", "image", "png"])
def test_grey_stays_grey(codec: Codec, source: str) -> None:
    pixels = photo("camera", 40, 24)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    sources: dict[str, Any] = {"array": pixels, "image": Image.fromarray(pixels), "png": buffer.getvalue()}
    code = codec.encode(sources[source])
    found = codec.unpack(codec.pack(code))
    assert code.grey
    assert found.grey
    image = codec.decode(found)
    assert (image.mode, image.size) == ("L", (40, 24))
    assert len(np.unique(pixels_of(image))) > 1


def test_padding_continues_the_edge(codec: Codec) -> None:
    """What lies outside a picture is its last row and column: a flat one has no border."""
    flat = np.full((5, 9, 3), 77, np.uint8)
    full = np.full((16, 16, 3), 77, np.uint8)
    assert same_levels(codec.encode(flat), codec.encode(full))


def test_other_data_travels_with_the_code(codec: Codec, code: BinaryCode) -> None:
    extra = (Extra(0x80, b"profile"), Extra(0xBF, b""))
    data = codec.pack(dataclasses.replace(code, extras=extra, minor_version=7), verify=True)
    found = codec.unpack(data)
    assert (found.extras, found.minor_version) == (extra, 7)
    assert bincodec.read_header(data).version == (1, 7)
    assert codec.pack(found) == data


def test_threads_may_share_a_codec(codec: Codec) -> None:
    codes = [codec.encode(noise(40, 30, seed), 10 * seed) for seed in range(8)]
    alone = [codec.pack(code) for code in codes]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.pack, codes)) == alone
        assert all(map(same_levels, pool.map(codec.unpack, alone), codes))


# --- layers -----------------------------------------------------------------------------------------------


def test_every_number_of_layers_is_a_picture(codec: Codec, code: BinaryCode) -> None:
    shown = [codec.decode(code, layers) for layers in (1, 2, 3)]
    assert [image.size for image in shown] == [(64, 48)] * 3
    assert [image.info["bld"]["layers"] for image in shown] == [1, 2, 3]
    assert np.array_equal(pixels_of(shown[2]), pixels_of(codec.decode(code)))
    assert not np.array_equal(pixels_of(shown[0]), pixels_of(shown[2]))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_code_of_fewer_layers_is_a_file_of_its_own(codec: Codec, code: BinaryCode, layers: int) -> None:
    fewer = dataclasses.replace(code, levels=code.levels[:layers], maximum=code.maximum[:layers], extras=())
    data = codec.pack(fewer, verify=True)
    found = codec.unpack(data)
    assert same_levels(found, fewer)
    assert (found.layers, found.intact) == (layers, True)
    assert len(data) < len(codec.pack(code))
    assert np.array_equal(pixels_of(codec.decode(found)), pixels_of(codec.decode(code, layers)))


def test_missing_layers_enter_as_their_expectation_not_as_zero(codec: Codec, code: BinaryCode) -> None:
    one = decoder.Shown(codec.model, code, 1).centred(Window(0, 0, *code.grid))
    architecture = codec.model.card.architecture
    assert one.shape == (architecture.channels, 3, 4)
    part = architecture.layer_slice(2)
    assert (one[part].abs() <= 0.5).all()
    assert len(one[part].unique()) > 4
    assert np.array_equal(one[:2].numpy(), code.levels[0] - np.float32(3))


# --- cost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHOTOS)
def test_a_file_is_hardly_larger_than_its_bits_cost(codec: Codec, name: str) -> None:
    for quality in QUALITIES:
        code = codec.encode(photo(name, 288, 240), quality)
        data = codec.pack(code)
        cost = codec.cost(code)
        assert cost.shape == (3, 15, 18)
        assert (cost > 0).all()
        raw = any(chunk.raw for chunk in chunks_of(data))
        assert raw or cost.sum() / 8 < len(data) <= cost.sum() / 8 * 1.001 + OVERHEAD


def test_noise_costs_no_more_than_raw_bits(codec: Codec) -> None:
    code = random_code(codec, 320, 240, 1)
    bits = sum(part.size * top.bit_length() for part, top in zip(code.levels, code.maximum, strict=True))
    data = codec.pack(code)
    assert len(data) <= bits / 8 + OVERHEAD
    assert any(chunk.raw for chunk in chunks_of(data))
    assert same_levels(codec.unpack(data), code)


def test_an_unlikely_level_costs_more_at_its_own_position(codec: Codec, code: BinaryCode) -> None:
    """The last pass of the last layer is not context for anything: a change moves one position's bits."""
    last = code.levels[-1].copy()
    last[0, 1, 2] = 1 - last[0, 1, 2]
    change = codec.cost(dataclasses.replace(code, levels=(*code.levels[:-1], last))) - codec.cost(code)
    assert change[2, 1, 2] != 0
    change[2, 1, 2] = 0
    assert not change.any()


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [-1, 101, np.int64(-1)])
def test_qualities_that_do_not_exist(codec: Codec, quality: int) -> None:
    with pytest.raises(InvalidSetting, match=r"quality .* is not an integer in 0\.\.100"):
        codec.encode(noise(3, 3, 0), quality)


@pytest.mark.parametrize("quality", [50.0, True, "50", float("nan"), np.float32(7)])
def test_qualities_that_are_no_integers(codec: Codec, quality: Any) -> None:
    with pytest.raises(TypeError, match=r"quality must be an integer in 0\.\.100, not"):
        codec.encode(noise(3, 3, 0), quality)


def test_numpy_s_integers_are_qualities_too(codec: Codec) -> None:
    assert codec.encode(noise(3, 3, 0), np.int64(50)).quality == 50  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [0, -1, 4])
def test_layers_that_do_not_exist(codec: Codec, code: BinaryCode, layers: int) -> None:
    with pytest.raises(InvalidSetting, match=f"layers {layers} is not an integer in 1..3"):
        codec.decode(code, layers)


@pytest.mark.parametrize("layers", [1.5, True, "2"])
def test_layers_that_are_no_integers(codec: Codec, code: BinaryCode, layers: Any) -> None:
    with pytest.raises(TypeError, match=r"layers must be an integer in 1\.\.3, not"):
        codec.decode(code, layers)


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:99"])
def test_bad_devices(device: str) -> None:
    with pytest.raises(InvalidSetting, match=f"device '{device}' cannot be used") as caught:
        Codec.load(str(MODELS / "tiny-1.safetensors"), device)
    assert "\n" not in str(caught.value)


def test_unknown_models() -> None:
    with pytest.raises(UnknownModel, match="no model is called 'nothing'"):
        Codec.load("nothing")


def test_a_code_of_another_model(codec: Codec, code: BinaryCode) -> None:
    other = dataclasses.replace(code, fingerprint=bytes(8))
    for use in (codec.pack, codec.decode, codec.cost):
        with pytest.raises(WrongModel, match=f"0000000000000000, not to tiny-1 .{code.fingerprint.hex()}"):
            use(other)


def test_a_file_of_another_model(codec: Codec, code: BinaryCode, repair: Callable[..., bytes]) -> None:
    data = bytearray(codec.pack(code))
    data[24:32] = bytes(8)
    forged = repair(bytes(data))
    for use, error in ((codec.unpack, WrongModel), (bincodec.decompress, UnknownModel)):
        with pytest.raises(error, match="0000000000000000"):
            use(forged)


def test_a_file_of_more_layers_than_the_model_has(
    codec: Codec, code: BinaryCode, repair: Callable[..., bytes]
) -> None:
    data = bytearray(codec.pack(code))
    assert data[36] == 0b100  # The only group ends with the third layer.
    data[21], data[36] = 4, 0b1000
    with pytest.raises(bincodec.Corrupt, match="4 layers"):
        codec.unpack(repair(bytes(data)))


def test_errors_have_one_root() -> None:
    assert issubclass(InvalidSetting, BincodecError)
    assert issubclass(InvalidSetting, ValueError)
    assert issubclass(VerificationFailed, BincodecError)


# --- the module's functions -------------------------------------------------------------------------------


def test_compress_and_decompress_find_the_model(monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    picture = photo("coffee", 50, 34)
    data = bincodec.compress(picture, quality=30, model="tiny")
    assert data == codec.pack(codec.encode(picture, 30))
    image = bincodec.decompress(data)
    assert np.array_equal(pixels_of(image), pixels_of(codec.decode(codec.unpack(data))))
    assert bincodec.decompress(io.BytesIO(data), layers=1).info["bld"]["layers"] == 1
    assert bincodec.compress(picture, quality=30, model="tiny-1", verify=False) == data
    header = bincodec.read_header(data)
    assert (header.width, header.height, header.quality, header.layers) == (50, 34, 30, 3)


def test_compress_verifies_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    asked: list[bool] = []

    def pack(self: Codec, code: BinaryCode, *, verify: bool = False) -> bytes:
        asked.append(verify)
        return b""

    monkeypatch.setattr(Codec, "pack", pack)
    bincodec.compress(noise(4, 4, 0), model="tiny")
    bincodec.compress(noise(4, 4, 0), model="tiny", verify=False)
    assert asked == [True, False]


def test_decompress_keeps_to_the_limits(monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    data = codec.pack(codec.encode(noise(20, 10, 0)))
    with pytest.raises(TooLarge, match="pixels=199"):
        bincodec.decompress(data, limits=Limits(pixels=199))


# --- BinaryCode -------------------------------------------------------------------------------------------


def test_bits_are_a_thermometer(code: BinaryCode) -> None:
    for bits, levels, top in zip(code.bits(), code.levels, code.maximum, strict=True):
        assert bits.dtype == np.bool_
        assert bits.shape == (len(levels), top, *code.grid)
        assert np.array_equal(bits.sum(1), levels)
        assert (bits[:, :-1] >= bits[:, 1:]).all()


def test_a_code_is_frozen(code: BinaryCode) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        code.quality = 3  # type: ignore[misc]


def test_the_digest_is_of_levels_only_and_of_each_one(code: BinaryCode) -> None:
    assert dataclasses.replace(code, quality=1, grey=True, model="other").digest() == code.digest()
    digests = {code.digest()}
    count = 0
    for layer, levels in enumerate(code.levels):
        for index in range(levels.size):
            changed = levels.copy()
            changed.flat[index] ^= 1
            parts = [*code.levels[:layer], changed, *code.levels[layer + 1 :]]
            digests.add(dataclasses.replace(code, levels=tuple(parts)).digest())
            count += 1
    assert len(digests) == count + 1


def test_the_digest_knows_shapes_and_layers(code: BinaryCode) -> None:
    turned = tuple(part.reshape(len(part), *reversed(code.grid)) for part in code.levels)
    across = dataclasses.replace(code, levels=turned, width=code.height, height=code.width)
    joined = dataclasses.replace(code, levels=(np.concatenate(code.levels),), maximum=code.maximum[:1])
    assert len({one.digest() for one in (code, across, joined)}) == 3


def test_levels_must_lie_on_the_image_s_grid(code: BinaryCode) -> None:
    with pytest.raises(InvalidSetting, match=r"\(2, 3, 4\), not uint8 \(channels, 3, 5\)"):
        dataclasses.replace(code, width=code.width + 16)


def test_a_code_that_is_no_longer_whole_is_not_packed(codec: Codec, code: BinaryCode) -> None:
    for rest in (
        dataclasses.replace(code, damage=("the end is missing",)),
        dataclasses.replace(code, tile_layers=(2,)),
    ):
        with pytest.raises(InvalidSetting, match="parts of its file were damaged or not read"):
            codec.pack(rest)


# --- verification and fallback ----------------------------------------------------------------------------


class Tampering:
    """`IntegerPrior.predict` that turns wrong after a number of calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, right_calls: int) -> None:
        self.calls = 0
        honest = IntegerPrior.predict

        def predict(
            prior: IntegerPrior, *arguments: Any, **options: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls += 1
            mu, scale = honest(prior, *arguments, **options)
            return (mu if self.calls <= right_calls else mu + 40), scale

        monkeypatch.setattr(IntegerPrior, "predict", predict)


def test_verification_catches_a_prior_that_changes(
    codec: Codec, code: BinaryCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = sum(codec.model.card.architecture.layer_phases)
    Tampering(monkeypatch, passes)
    with pytest.raises(VerificationFailed, match="does not decode to the code it was made from"):
        codec.pack(code, verify=True)


def test_verification_catches_another_code(
    codec: Codec, code: BinaryCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = codec.encode(photo("coffee", 64, 48), 60)
    monkeypatch.setattr(packing, "unpack", lambda *_, **__: other)
    with pytest.raises(VerificationFailed, match="does not decode to the code it was made from"):
        codec.pack(code, verify=True)


def test_without_verification_nothing_is_unpacked(
    codec: Codec, code: BinaryCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "unpack", None)
    assert codec.pack(code)


def broken_stream(*kinds: torch.dtype) -> Callable[..., torch.Tensor]:
    """The prior's layers, with channels in the wrong place for some kinds of numbers."""
    honest = kernels.stream

    def wrong(*arguments: Any, **options: Any) -> torch.Tensor:
        result = honest(*arguments, **options)
        return result.roll(1, -1) if result.dtype in kinds else result

    return wrong


def test_a_kernel_that_is_wrong_at_this_size_is_replaced(
    codec: Codec, code: BinaryCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test saw nothing; the checksum of the levels does, and the safest kernel reads the file."""
    data = codec.pack(code)
    monkeypatch.setattr(kernels, "stream", broken_stream(torch.float32))
    (tile,) = code.tiles
    first = packing._attempt(codec.model.prior, container.read(Memory(data)), code.layers, tile)
    assert isinstance(first.error, BitsMismatch)
    assert codec.model.prior.kernel in ("conv", "matmul")
    assert same_levels(codec.unpack(data), code)
    monkeypatch.setattr(kernels, "stream", broken_stream(torch.float32, torch.float64))
    with pytest.raises(BitsMismatch):
        codec.unpack(data)


@pytest.mark.parametrize("kernel", ["conv", "matmul", "float64", "int64"])
def test_every_kernel_writes_and_reads_the_same_file(codec: Codec, code: BinaryCode, kernel: Any) -> None:
    other = Codec.load(str(MODELS / "tiny-1.safetensors"), kernel=kernel)
    assert other.model.prior.kernel == kernel
    data = codec.pack(code)
    assert other.pack(code) == data
    assert same_levels(other.unpack(data), code)


# --- damage -----------------------------------------------------------------------------------------------


def small_file(codec: Codec) -> tuple[BinaryCode, bytes]:
    """Layers only: no data beside them."""
    code = dataclasses.replace(codec.encode(photo("astronaut", 40, 28), 60), extras=())
    return code, codec.pack(code)


def test_every_truncation(codec: Codec) -> None:
    code, data = small_file(codec)
    for length in range(len(data)):
        with pytest.raises(BincodecError) as caught:
            codec.unpack(data[:length])
        assert "\n" not in str(caught.value)
    assert same_levels(codec.unpack(data), code)


@pytest.mark.usefixtures("small_chunks")
def test_every_truncation_read_partially(codec: Codec) -> None:
    code, data = small_file(codec)
    assert len(chunks_of(data)) == 3
    shown = set()
    for length in range(len(data)):
        try:
            found = codec.unpack(data[:length], partial=True)
        except BincodecError:
            shown.add(0)
            continue
        shown.add(found.layers)
        assert not found.intact
        assert all(map(np.array_equal, found.levels, code.levels))
        assert len(found.maximum) == found.layers
    assert shown == {0, 1, 2}
    assert codec.unpack(data, partial=True).intact


@pytest.mark.usefixtures("small_chunks")
def test_what_is_left_of_a_file_is_a_marked_picture(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    code, data = small_file(codec)
    with pytest.raises(Truncated):
        bincodec.decompress(data[:-1])
    image = bincodec.decompress(data[:-1], missing="expect")
    assert image.info["bld"]["intact"] is False
    assert image.info["bld"]["layers"] == 2
    assert np.array_equal(pixels_of(image), pixels_of(codec.decode(code, 2)))


@pytest.mark.usefixtures("small_chunks")
def test_a_damaged_chunk_costs_its_own_and_later_layers(
    codec: Codec, chunk_place: Callable[..., slice]
) -> None:
    code, data = small_file(codec)
    damaged = bytearray(data)
    damaged[chunk_place(data, 1).start + 5] ^= 4
    with pytest.raises(bincodec.Corrupt):
        codec.unpack(bytes(damaged))
    found = codec.unpack(bytes(damaged), partial=True)
    assert (found.layers, found.tile_layers) == (1, None)
    assert found.damage == (
        "the checksum of the chunk of layer 2 of tile 0 (row 0, column 0) does not match",
    )
    assert np.array_equal(found.levels[0], code.levels[0])


def damages(data: bytes, count: int, start: int) -> Iterator[bytes]:
    """Random damage from byte `start` on: bytes changed, lost, doubled, exchanged, or bits flipped."""
    rng = np.random.default_rng(99)
    for index in range(count):
        damaged = bytearray(data)
        at, to = sorted(rng.integers(start, len(data), 2).tolist())
        match index % 5:
            case 0:
                damaged[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                for place in rng.integers(start, len(data), 4):
                    damaged[place] = int(rng.integers(0, 256))
            case 2:
                del damaged[at : at + int(rng.integers(1, 6))]
            case 3:
                damaged[at:at] = damaged[at:to] or b"\0"
            case 4:
                damaged[at], damaged[to] = damaged[to], damaged[at]
        yield bytes(damaged)


def outcomes(codec: Codec, files: Iterator[bytes], code: BinaryCode) -> tuple[int, int]:
    """How many files were refused, and how many gave the same levels; anything else is a failure.

    The header's and the extras' own checksums guard everything else: where those are left alone or
    not repaired, the same levels are the same picture.
    """
    refused = accepted = 0
    for data in files:
        try:
            found = codec.unpack(data, limits=Limits(pixels=2**14))
        except BincodecError:
            refused += 1
            continue
        assert same_levels(found, code)
        accepted += 1
    return refused, accepted


def test_random_damage_is_noticed(codec: Codec) -> None:
    code = codec.encode(photo("astronaut", 40, 28), 60)
    data = codec.pack(dataclasses.replace(code, extras=(Extra(0x80, b"something"),)))
    harmless = [damaged for damaged in damages(data, 600, 0) if damaged == data]
    refused, accepted = outcomes(codec, damages(data, 600, 0), code)
    # Two equal bytes that change places, a byte changed to itself: nothing else is accepted.
    assert (refused, accepted) == (600 - len(harmless), len(harmless))


@pytest.mark.parametrize("group_bytes", [0, stream.GROUP_BYTES])
def test_random_damage_with_repaired_checksums_is_noticed(
    codec: Codec, repair: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, group_bytes: int
) -> None:
    monkeypatch.setattr(stream, "GROUP_BYTES", group_bytes)
    code, data = small_file(codec)
    files = [repair(damaged) for damaged in damages(data, 200, 36)]
    harmless = files.count(data)
    assert outcomes(codec, iter(files), code) == (200 - harmless, harmless)


def test_a_forged_header_is_noticed(codec: Codec, repair: Callable[..., bytes]) -> None:
    code, data = small_file(codec)
    picture = pixels_of(codec.decode(code))
    for place in range(32):
        for bit in range(8):
            forged = repair(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            try:
                found = codec.unpack(forged, limits=Limits(pixels=2**14))
            except BincodecError:
                continue
            assert np.array_equal(pixels_of(codec.decode(found)), picture)


# --- the post-filter --------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [50, 100])
def test_a_flat_picture_has_no_colour_cast(codec: Codec, quality: int) -> None:
    picture = np.full((21, 35, 3), (120, 100, 150), np.uint8)
    found = codec.unpack(codec.pack(codec.encode(picture, quality), verify=True))
    assert len(found.extras) == 1
    shown, bare = (
        np.abs((pixels_of(codec.decode(one)).astype(float) - picture).mean((0, 1))).max()
        for one in (found, dataclasses.replace(found, extras=()))
    )
    assert shown < 0.5 < 2 < bare


def test_a_malformed_post_filter_is_corrupt(codec: Codec) -> None:
    code, _ = small_file(codec)
    data = codec.pack(dataclasses.replace(code, extras=(Extra(POST_FILTER, b"too short"),)))
    with pytest.raises(bincodec.Corrupt, match="post-filter"):
        codec.unpack(data)
