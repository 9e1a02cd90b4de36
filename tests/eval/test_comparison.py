"""Pictures side by side: matched bytes, the middle of large images, cached results, and failures."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bincodec.eval import comparison
from bincodec.eval.cache import Cache
from bincodec.eval.metrics import psnr
from bincodec.eval.peers import Peer, read_spec
from bincodec.eval.spec import Spec
from bincodec.eval.sweep import look

Pixels = NDArray[np.uint8]
STEPS = {"bincodec": 100, "jpeg": 30, "webp": 7}


class Fake:
    """Make codecs whose file has so many bytes for each step of the setting, and whose picture is flat."""

    def __init__(self) -> None:
        self.encoded = 0

    def __call__(self, spec: Spec) -> Peer:
        def encode(pixels: Pixels, setting: int) -> bytes:
            self.encoded += 1
            height, width, _ = pixels.shape
            return f"{setting} {width} {height} ".encode().ljust(STEPS[spec.codec] * setting, b".")

        return Peer(spec.label, f"fake {spec.codec}", (1,), (1, 1000), encode, self.decode)

    @staticmethod
    def decode(data: bytes) -> Pixels:
        setting, width, height = map(int, data.split()[:3])
        return np.full((height, width, 3), setting % 256, np.uint8)


def pixels_of(file: bytes) -> Pixels:
    assert file.startswith(b"RIFF")
    with Image.open(BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def test_the_others_match_the_bytes_of_bincodec(photos: list[Path]) -> None:
    sources, _ = look([str(photos[0])])
    specs = [read_spec(name) for name in ("jpeg", "bincodec", "webp")]
    # 0.9 bits for each of 64 x 48 pixels are 345.6 bytes. Of bincodec's steps, 300 is nearest.
    (shown,), failures = comparison.compare(sources, specs, [0.9], build=Fake())
    assert not failures
    assert (shown.image, shown.width, shown.height) == (str(photos[0]), 64, 48)
    assert shown.target_bits_per_pixel == 0.9
    found = {picture.codec: (picture.setting, picture.bytes) for picture in shown.pictures}
    assert list(found) == ["jpeg", "bincodec", "webp"]
    assert found == {"bincodec": (3, 300), "jpeg": (10, 300), "webp": (43, 301)}
    assert shown.pictures[1].bits_per_pixel == 8 * 300 / (64 * 48)
    assert np.array_equal(pixels_of(shown.pictures[2].image), np.full((48, 64, 3), 43, np.uint8))
    original = pixels_of(shown.original)
    with Image.open(photos[0]) as image:
        assert np.array_equal(original, np.asarray(image))
    assert shown.pictures[2].psnr == psnr(original, np.full((48, 64, 3), 43, np.uint8))


def test_without_bincodec_all_aim_at_the_target(photos: list[Path]) -> None:
    sources, _ = look([str(photo) for photo in photos])
    specs = [read_spec("jpeg"), read_spec("webp")]
    shown, _ = comparison.compare(sources, specs, [0.9, 0.3], build=Fake())
    assert [(s.image, s.target_bits_per_pixel) for s in shown] == [
        (str(photo), target) for photo in photos for target in (0.9, 0.3)
    ]
    assert [picture.bytes for picture in shown[0].pictures] == [360, 343]
    assert [picture.bytes for picture in shown[1].pictures] == [120, 112]


def test_of_a_large_image_the_middle_is_shown(tmp_path: Path) -> None:
    pixels = np.zeros((8, comparison.LARGEST_SIDE + 100, 3), np.uint8)
    pixels[:, 50] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    sources, _ = look([str(tmp_path / "wide.png")])
    (shown,), _ = comparison.compare(sources, [read_spec("jpeg")], [1.0], build=Fake())
    assert shown.image.endswith("wide.png (middle)")
    assert (shown.width, shown.height) == (comparison.LARGEST_SIDE, 8)
    original = pixels_of(shown.original)
    assert original.shape == (8, comparison.LARGEST_SIDE, 3)
    assert original[:, 0].min() == 255
    assert original[:, 1:].max() == 0
    (picture,) = shown.pictures
    assert pixels_of(picture.image).shape == original.shape
    assert picture.bits_per_pixel == 8 * picture.bytes / (8 * 1124), "rate is of the whole image"


def test_a_search_is_not_made_again(photos: list[Path], tmp_path: Path) -> None:
    sources, _ = look([str(photo) for photo in photos])
    specs, fake, cache = [read_spec("bincodec"), read_spec("jpeg")], Fake(), Cache(tmp_path / "cache")
    first = comparison.compare(sources, specs, [0.5], cache=cache, build=fake)
    count = fake.encoded
    assert count > 0
    assert comparison.compare(sources, specs, [0.5], cache=cache, build=fake) == first
    assert fake.encoded == count
    comparison.compare(sources, specs, [0.9], cache=cache, build=fake)
    assert fake.encoded > count


@pytest.mark.parametrize("broken", ["bincodec", "jpeg"])
def test_a_codec_that_raises_is_missing_and_named(broken: str, photos: list[Path]) -> None:
    fake = Fake()

    def build(spec: Spec) -> Peer:
        def fail(*_: object) -> bytes:
            msg = "no"
            raise RuntimeError(msg)

        peer = fake(spec)
        if spec.codec != broken:
            return peer
        return Peer(peer.name, peer.about, peer.settings, peer.limits, fail, peer.decode)

    sources, _ = look([str(photos[0])])
    specs = [read_spec(name) for name in ("bincodec", "jpeg", "webp")]
    (shown,), (failure,) = comparison.compare(sources, specs, [0.9], build=build)
    assert [picture.codec for picture in shown.pictures] == [s.label for s in specs if s.codec != broken]
    assert (failure.image, failure.codec, failure.setting) == (str(photos[0]), broken, None)
    assert failure.reason == "at 0.9 bits per pixel: RuntimeError: no"


def test_comparisons_beyond_a_size_are_left_out(photos: list[Path]) -> None:
    sources, _ = look([str(photo) for photo in photos])
    shown, _ = comparison.compare(sources, [read_spec("jpeg")], [0.9, 0.3], build=Fake())
    # Both comparisons of a photo show the same original, and a page stores it once.
    sizes = [sum(len(picture.image) for picture in s.pictures) for s in shown]
    first, second = len(shown[0].original), len(shown[2].original)
    assert comparison.within(shown, sum(sizes) + first + second) == shown
    assert comparison.within(shown, sum(sizes) + first + second - 1) == shown[:3]
    assert comparison.within(shown, sizes[0] + sizes[1] + first) == shown[:2]
    assert comparison.within(shown, 1) == shown[:1]
    assert comparison.within([], 1) == []


def test_an_image_that_is_gone_is_named(photos: list[Path]) -> None:
    sources, _ = look([str(photo) for photo in photos])
    photos[0].unlink()
    shown, (failure,) = comparison.compare(sources, [read_spec("jpeg")], [0.9], build=Fake())
    assert [s.image for s in shown] == [str(photos[1])]
    assert failure.image == str(photos[0])
    assert "cannot be read" in failure.reason
