"""Alpha and metadata: both decoders find the same, and refuse the same."""

import dataclasses
import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

import bincodec
from bincodec import Codec
from bincodec.bitstream.alpha import pack, unpack

from .alpha import CODED, Plane, read_alpha
from .container import read_file
from .decode import Decoded, netpbm
from .errors import Refused
from .metadata import read_metadata
from .test_container import CLASSES
from .writing import Draft, alpha_payload, draft_of

ALPHA, ICC, EXIF, XMP = 0x41, 0xC1, 0x82, 0x83
METADATA = {ICC: "ICC profile", EXIF: "Exif", XMP: "XMP"}
LIMIT = 2**22
HEIGHT, WIDTH = 9, 14
TRUTH = np.add.outer(30 * np.arange(HEIGHT), 17 * np.arange(WIDTH)).clip(100, 355).astype(np.int64) - 100
SAMPLES = TRUTH.astype(np.uint8)
"""Clear and opaque samples, and steps between."""


def disc(height: int, width: int, slope: float) -> Plane:
    """Return a plane that is opaque in the middle and clear around it, with an edge that is steep or not."""
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2)
    plane: Plane = ((min(height, width) / 3 - distance) * slope).clip(0, 255).astype(np.uint8)
    return plane


def noise(height: int, width: int, low: int, high: int) -> Plane:
    """Draw random samples. Those beyond 0..255 become 0 or 255."""
    random = np.random.default_rng(height * width)
    plane: Plane = random.integers(low, high, (height, width)).clip(0, 255).astype(np.uint8)
    return plane


RAMP = np.arange(300).astype(np.uint8)
PLANES = {
    "hard edge": disc(61, 97, 1e9),
    "antialiased edge": disc(97, 61, 255),
    "soft edge": disc(64, 64, 9),
    "gradient": np.add.outer(np.arange(33), np.arange(40)).astype(np.uint8),
    "noise": noise(35, 37, 0, 256),
    "noise between": noise(35, 37, 1, 255),
    "noise with many at the ends": noise(35, 37, -300, 500),
    "half clear": np.repeat(np.array([[0], [255]], np.uint8), 20, axis=0).repeat(31, axis=1),
    "all clear": np.zeros((32, 33), np.uint8),
    "all opaque": np.full((32, 33), 255, np.uint8),
    "one clear pixel": np.array([[0]], np.uint8),
    "one pixel": np.array([[7]], np.uint8),
    "two pixels": np.array([[3, 255]], np.uint8),
    "one column": RAMP[:, None],
    "one row": RAMP[None],
    "one column of noise": noise(300, 1, -200, 500),
    "one row of noise": noise(1, 300, -200, 500),
    "two columns": noise(257, 2, -9, 20),
    "beyond a power of two": noise(65, 129, -9, 20),
}


@pytest.mark.parametrize("name", PLANES)
def test_planes_that_the_codec_packs(name: str) -> None:
    """The codec uses the shortest method. If that is the coded one, both make the same bytes."""
    plane = PLANES[name]
    payload = pack(plane)
    found = read_alpha(payload, plane.shape[::-1])
    assert (found.dtype, found.shape) == (np.uint8, plane.shape)
    assert np.array_equal(found, plane)
    coded = alpha_payload(plane, CODED)
    assert len(payload) <= len(coded)
    if payload[0] == CODED:
        assert payload == coded


def test_a_large_plane() -> None:
    """Runs are longer than the shortest ones here, and a set has several of them."""
    plane = disc(1030, 1100, 255)
    payload = pack(plane)
    assert payload[0] == CODED
    assert np.array_equal(read_alpha(payload, plane.shape[::-1]), plane)


def test_the_codec_chooses_every_method_of_which_we_know() -> None:
    assert {pack(plane)[0] for plane in PLANES.values()} == set(range(CODED + 1))


@pytest.fixture(scope="module")
def draft(codec: Codec) -> Draft:
    """Return a small file without extras."""
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return draft_of(read_file(codec.pack(codec.encode(pixels, 50, effort=0))))


@pytest.fixture
def refusal(draft: Draft, tiny: Callable[[bytes], Decoded], codec: Codec) -> Callable[[int, bytes], str]:
    """Return why both decoders refuse a file with this extra, or "" if both accept it."""

    def why(kind: int, payload: bytes) -> str:
        data = dataclasses.replace(draft, extras=((kind, payload),)).write()
        reason = ""
        try:
            tiny(data)
        except Refused as refused:
            reason = refused.kind
        if reason:
            with pytest.raises(bincodec.BincodecError) as theirs:
                codec.decode(codec.unpack(data))
            assert theirs.type is CLASSES[reason], theirs.value
        else:
            codec.decode(codec.unpack(data))
        return reason

    return why


@pytest.mark.parametrize("method", range(CODED + 1))
@pytest.mark.parametrize(
    "name", ["noise", "noise with many at the ends", "soft edge", "one column", "one row"]
)
def test_every_method_tells_any_plane(method: int, name: str) -> None:
    plane = PLANES[name]
    assert np.array_equal(read_alpha(alpha_payload(plane, method), plane.shape[::-1]), plane)


@pytest.mark.parametrize("method", range(CODED + 1))
@pytest.mark.parametrize("plane", [SAMPLES, np.full_like(SAMPLES, 255)], ids=["steps", "opaque"])
def test_a_reader_takes_any_method(
    method: int, plane: Plane, draft: Draft, tiny: Callable[[bytes], Decoded], codec: Codec
) -> None:
    """This holds if the method is the shortest or not, and if all samples are opaque."""
    data = dataclasses.replace(draft, extras=((ALPHA, alpha_payload(plane, method)),)).write()
    found, theirs = tiny(data).pixels, np.asarray(codec.decode(codec.unpack(data)))
    assert found.shape == theirs.shape == (HEIGHT, WIDTH, 4)
    assert np.array_equal(found[..., 3], plane)
    assert np.array_equal(theirs[..., 3], plane)
    assert np.array_equal(found[..., :3], tiny(draft.write()).pixels)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_the_last_sample(mode: str, tiny: Callable[[bytes], Decoded], codec: Codec) -> None:
    samples = np.full((40, 50, len(mode)), 90, np.uint8)
    samples[..., -1] = disc(40, 50, 60)
    found = tiny(codec.compress(Image.fromarray(samples, mode))).pixels
    assert found.shape == samples.shape
    assert np.array_equal(found[..., -1], samples[..., -1])


STREAM = zlib.compress(SAMPLES.tobytes(), 9)
CODED_PAYLOAD = alpha_payload(SAMPLES, CODED)


def foreign(bits: int, dictionary: bytes = b"") -> bytes:
    """Return the samples as a stream with another window or with a dictionary."""
    form = (9, zlib.DEFLATED, bits, 9, 0)
    packer = zlib.compressobj(*form, dictionary) if dictionary else zlib.compressobj(*form)
    return packer.compress(SAMPLES.tobytes()) + packer.flush()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"\4",
        b"\5" + STREAM,
        b"\x80" + STREAM,
        b"\xff" + STREAM,
        b"\0" + STREAM + b"\0",
        b"\0" + STREAM + STREAM,
        b"\0" + STREAM[:-1],
        b"\3" + STREAM[:-1] + bytes([STREAM[-1] ^ 1]),
        b"\0" + zlib.compress(SAMPLES.tobytes()[:-1]),
        b"\0" + zlib.compress(SAMPLES.tobytes() + b"\0"),
        b"\0" + zlib.compress(bytes(10**7)),
        b"\0" + foreign(-15),
        b"\0" + foreign(31),
        b"\0" + foreign(15, b"a dictionary"),
        CODED_PAYLOAD[:2],
        CODED_PAYLOAD[:-1],
        CODED_PAYLOAD + b"\0",
        CODED_PAYLOAD + bytes(range(200)),
        CODED_PAYLOAD[:2] + bytes(40),
        CODED_PAYLOAD[:2] + b"\xff" * 40,
    ],
)
def test_payloads_of_alpha_that_are_refused(payload: bytes, refusal: Callable[[int, bytes], str]) -> None:
    assert refusal(ALPHA, payload) == "corrupt"


@pytest.mark.parametrize("rest", [b"\0", b"\1", b"\xff" * 9])
def test_behind_the_only_pixel_of_a_picture_nothing_is_coded(rest: bytes) -> None:
    assert read_alpha(b"\4\7", (1, 1)) == 7
    with pytest.raises(Refused, match="corrupt"):
        read_alpha(b"\4\7" + rest, (1, 1))


@pytest.mark.parametrize(
    "stream", [zlib.compress(SAMPLES.tobytes(), 0), foreign(9)], ids=["stored", "window"]
)
def test_any_zlib_stream_will_do(stream: bytes, refusal: Callable[[int, bytes], str]) -> None:
    assert refusal(ALPHA, b"\0" + stream) == ""


def test_a_flipped_bit_of_coded_alpha_is_refused_or_tells_other_samples() -> None:
    """What is accepted is what a writer makes of other samples."""
    samples = np.ascontiguousarray(SAMPLES[2:7, 3:10])
    payload, size = alpha_payload(samples, CODED), samples.shape[::-1]
    refused, taken = 0, 0
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            plane = read_alpha(bytes(damaged), size)
        except Refused as caught:
            refused += caught.kind == "corrupt"
            with pytest.raises(bincodec.Corrupt):
                unpack(bytes(damaged), *size)
            continue
        assert not np.array_equal(plane, samples)
        assert alpha_payload(plane, CODED) == damaged
        assert np.array_equal(plane, unpack(bytes(damaged), *size))
        taken += 1
    assert refused + taken == 8 * len(payload)
    assert refused > 2 * taken > 0


@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (zlib.compress(b"anything at all"), ""),
        (zlib.compress(bytes(LIMIT)), ""),
        (zlib.compress(bytes(LIMIT + 1)), "too large"),
        (zlib.compress(bytes(3 * LIMIT)), "too large"),
        (zlib.compress(bytes(3 * LIMIT))[:-4000], "too large"),
        (b"", "corrupt"),
        (zlib.compress(b""), "corrupt"),
        (zlib.compress(b"packet")[:-1], "corrupt"),
        (zlib.compress(b"packet")[:-1] + b"\0", "corrupt"),
        (zlib.compress(b"packet") + b"\0", "corrupt"),
        (b"packet", "corrupt"),
        (foreign(15, b"a dictionary"), "corrupt"),
    ],
)
def test_payloads_of_metadata(
    kind: int, payload: bytes, reason: str, refusal: Callable[[int, bytes], str]
) -> None:
    assert refusal(kind, payload) == reason


@pytest.mark.parametrize("kind", METADATA)
def test_a_flipped_bit_of_metadata_is_corrupt(kind: int, refusal: Callable[[int, bytes], str]) -> None:
    """The exception are bits that fill the last byte before the checksum of the stream. They mean nothing."""
    packet = b"packet " * 9
    payload = zlib.compress(packet)
    taken = []
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        reason = refusal(kind, bytes(damaged))
        assert reason in ("", "corrupt")
        if not reason:
            taken.append(bit // 8)
            assert read_metadata({kind: bytes(damaged)}) == {METADATA[kind]: packet}
    assert set(taken) <= {len(payload) - 5}
    assert len(taken) < 8


def test_metadata_of_a_picture(tiny: Callable[[bytes], Decoded], codec: Codec) -> None:
    image = Image.fromarray(np.full((20, 30, 4), 77, np.uint8), "RGBA")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x10E], exif[0x112] = "a description", 6
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    image.info.update(icc_profile=profile, xmp=packet)
    stored = io.BytesIO()
    image.save(stored, "png", exif=exif, icc_profile=profile)
    image.info["exif"] = Image.open(io.BytesIO(stored.getvalue())).info["exif"]
    data = codec.compress(image)
    found, theirs = tiny(data), codec.decompress(data)
    assert set(found.metadata) == set(METADATA.values())
    assert found.metadata["ICC profile"] == theirs.info["icc_profile"] == profile
    assert found.metadata["XMP"] == theirs.info["xmp"] == packet
    assert found.metadata["Exif"][:2] in (b"II", b"MM")
    read = Image.Exif()
    read.load(b"Exif\0\0" + found.metadata["Exif"])
    assert (read[0x10E], read.get(0x112, 1)) == ("a description", 1)
    assert found.pixels.shape[:2] == (theirs.height, theirs.width)
    assert found.pixels.shape[2] == (4 if ALPHA in found.extras else 3)


def test_there_may_be_no_metadata() -> None:
    assert read_metadata({}) == {}
    assert read_metadata({XMP: zlib.compress(b"x"), 0x90: b"?"}) == {"XMP": b"x"}


@pytest.mark.parametrize(("samples", "kind"), [(2, b"GRAYSCALE_ALPHA"), (4, b"RGB_ALPHA")])
def test_pictures_with_alpha_are_written_as_pam(samples: int, kind: bytes) -> None:
    pixels = np.arange(2 * 3 * samples, dtype=np.uint8).reshape(2, 3, samples)
    head, body = netpbm(pixels).split(b"ENDHDR\n")
    assert head.splitlines() == [
        b"P7",
        b"WIDTH 3",
        b"HEIGHT 2",
        b"DEPTH %d" % samples,
        b"MAXVAL 255",
        b"TUPLTYPE " + kind,
    ]
    assert body == pixels.tobytes()
