"""Targets are met from the right side, in few encodes, or the error names what can be reached."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from skimage import data as photos

import bincodec
from bincodec import Codec, InvalidSetting, OutOfReach
from bincodec.encoder import analysis, targets
from bincodec.encoder.targets import Aim, Attempt, attempts

WIDTH, HEIGHT = 160, 112


@pytest.fixture(scope="module")
def codec() -> Codec:
    """The photo model: what the tiny one writes hardly grows with quality."""
    return Codec.load("photo")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Waves that become finer to the right, with some noise, so that there is much to code."""
    down, right = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = np.sin(right**2 / 900 + down / 9) * 80 + 128
    noise = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 3))
    colours = np.stack([waves, waves[::-1], 255 - waves], axis=2) + noise
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8))


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The qualities that are tried."""
    tried: list[float] = []
    honest = analysis.encode

    def encode(model: object, picture: object, quality: float, rounds: int) -> object:
        tried.append(quality)
        return honest(model, picture, quality, rounds)  # type: ignore[arg-type]

    monkeypatch.setattr(analysis, "encode", encode)
    return tried


# --- the search by itself ---------------------------------------------------------------------------------

RATES = ([0, 17, 33, 50, 67, 83, 100], np.log([0.026, 0.053, 0.119, 0.273, 0.567, 0.996, 1.607]))


def best(made: list[Attempt], aim: Aim) -> Attempt | None:
    """Of the attempts on the right side, the one nearest to the aim."""
    allowed = [attempt for attempt in made if aim.allows(attempt.value)]
    return min(allowed, key=lambda attempt: abs(attempt.value - aim.middle), default=None)


CURVES: dict[str, Callable[[float], float]] = {
    "photo": lambda quality: float(np.interp(quality, *RATES)),
    "steep": lambda quality: 0.12 * quality,
    "flat": lambda quality: 0.011 * quality,
    "late": lambda quality: 6 * (quality / 100) ** 4,
    "early": lambda quality: 6 * (quality / 100) ** 0.5,
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("from_below", [True, False])
def test_any_rising_curve_is_met_in_eight_attempts(name: str, from_below: bool) -> None:
    curve = CURVES[name]
    for wanted in np.linspace(curve(4), curve(97), 25):
        low, high = (wanted - 0.02, wanted) if from_below else (wanted, wanted + 0.02)
        aim = Aim(low, high, from_below, 0.04)
        made = attempts(curve, aim)
        found = best(made, aim)
        assert len(made) <= 8
        assert found is made[-1]
        assert low <= found.value <= high


def test_the_right_side_counts_where_the_steps_are_coarse() -> None:
    def stairs(quality: float) -> float:
        return float(quality // 10)

    for from_below, value in ((True, 4), (False, 5)):
        aim = Aim(4.4, 4.42, from_below, 0.04)
        made = attempts(stairs, aim)
        found = best(made, aim)
        assert found is not None
        assert (found.value, len(made) <= 8) == (value, True)


def test_the_ends_are_tried_before_giving_up() -> None:
    for from_below, wanted, end, reached in (
        (True, -5.0, 0, False),
        (True, 50.0, 100, True),
        (False, 50.0, 100, False),
        (False, -5.0, 0, True),
    ):
        aim = Aim(wanted, wanted, from_below, 100.0)  # It thinks that the curve is steep, and steps little.
        made = attempts(lambda quality: 0.04 * quality, aim)
        assert end in [attempt.quality for attempt in made]
        assert (best(made, aim) is not None) == reached


# --- with a codec -----------------------------------------------------------------------------------------


def test_a_size_is_met_from_below(codec: Codec, image: Image.Image, encodes: list[float]) -> None:
    least, most = (len(codec.compress(image, quality)) for quality in (5, 95))
    for size in np.linspace(1.3 * least, 0.9 * most, 2).astype(int):
        encodes.clear()
        data = codec.compress(image, size=int(size))
        assert 0.98 * size <= len(data) <= size
        assert 1 <= len(encodes) <= 8
        assert bincodec.read_header(data).quality == round(encodes[-1])


def test_the_whole_file_counts(codec: Codec, image: Image.Image) -> None:
    described = image.copy()
    described.info["xmp"] = np.random.default_rng(1).bytes(300)
    size = len(codec.compress(image, 50)) + 300
    data = codec.compress(described, size=size)
    assert 0.98 * size <= len(data) <= size
    assert codec.decompress(data).info["xmp"] == described.info["xmp"]


def test_bits_per_pixel_are_bytes_by_another_name(codec: Codec, image: Image.Image) -> None:
    size = len(codec.compress(image, 60))
    data = codec.compress(image, bits_per_pixel=8 * size / (WIDTH * HEIGHT) + 1e-9)
    assert data == codec.compress(image, size=size)


def test_a_psnr_is_met_from_above(codec: Codec, encodes: list[float]) -> None:
    """This takes a photo: the PSNR of the waves rises in steps, some of which are wider than the range."""
    photo = Image.fromarray(photos.chelsea()[60:172, 100:260])
    for mode, wanted in (("RGB", 28.0), ("L", 31.0)):
        encodes.clear()
        part = photo.convert(mode)
        data = codec.compress(part, psnr=wanted)
        error = np.asarray(part, float) - np.asarray(codec.decompress(data), float)
        assert wanted <= 10 * math.log10(255**2 / np.mean(error**2)) <= wanted + targets.DECIBELS
        assert len(encodes) <= 8


def test_clear_pixels_do_not_count_for_psnr(codec: Codec, image: Image.Image) -> None:
    half = image.convert("RGBA")
    half.paste((255, 0, 255, 0), (0, 0, WIDTH // 2, HEIGHT))
    code = codec.encode(half, 50)
    error = np.asarray(image, float) - np.asarray(codec.decode(code).convert("RGB"), float)
    expected = 10 * math.log10(255**2 / np.mean(error[:, WIDTH // 2 :] ** 2))
    picture = bincodec.io.images.load(half)
    assert targets.psnr(codec.model, code, picture) == pytest.approx(expected)


def test_what_is_easier_than_the_easiest_is_met(codec: Codec, image: Image.Image) -> None:
    assert bincodec.read_header(codec.compress(image, size=10**6)).quality == 100
    assert bincodec.read_header(codec.compress(image, psnr=1)).quality == 0


@pytest.mark.parametrize("grey", [60, 128, 200])
def test_of_good_enough_pictures_the_lowest_quality_is_taken(codec: Codec, grey: int) -> None:
    """The PSNR of a flat picture does not rise with its quality."""
    flat = Image.new("RGB", (64, 48), (grey, grey, grey))
    assert bincodec.read_header(codec.compress(flat, psnr=1)).quality == 0


def test_of_equally_good_pictures_the_smallest_file_is_taken(codec: Codec) -> None:
    clear = Image.new("RGBA", (24, 24))
    assert codec.encode(clear, psnr=40).quality == 0, "nothing of it can be seen"


def test_what_cannot_be_reached_is_an_error_that_says_what_can(
    codec: Codec, image: Image.Image, encodes: list[float]
) -> None:
    smallest = len(codec.compress(image, 0))
    encodes.clear()
    with pytest.raises(OutOfReach, match=rf"^size 20 is out of reach: .* has {smallest} bytes$"):
        codec.compress(image, size=20)
    assert 0 < len(encodes) <= 8
    with pytest.raises(OutOfReach, match=rf"^bits_per_pixel 1e-09 is .* \({smallest} bytes\)$"):
        codec.compress(image, bits_per_pixel=1e-9)
    with pytest.raises(OutOfReach, match=r"^psnr 99\.5 is out of reach: .* \d\d\.\d\d dB at most$"):
        codec.compress(image, psnr=99.5)


def test_what_is_no_target_is_refused(codec: Codec, image: Image.Image) -> None:
    with pytest.raises(InvalidSetting, match=r"^quality and size cannot go together"):
        bincodec.compress(image, quality=50, size=3000)
    with pytest.raises(InvalidSetting, match=r"^bits_per_pixel and psnr cannot go together"):
        codec.encode(image, bits_per_pixel=1.0, psnr=30)
    with pytest.raises(InvalidSetting, match=r"^size 0 is not"):
        codec.compress(image, size=0)
    with pytest.raises(InvalidSetting, match=r"^psnr nan is not"):
        codec.compress(image, psnr=math.nan)
    with pytest.raises(TypeError, match=r"^size must be an integer"):
        codec.compress(image, size=2000.0)  # type: ignore[arg-type]


def test_pillow_saves_to_a_target_as_well(image: Image.Image) -> None:
    stream = io.BytesIO()
    image.save(stream, "BLD", size=1500)
    assert 0.98 * 1500 <= len(stream.getvalue()) <= 1500
