"""Sweeps: rows from real files, failed cells beside intact ones, cached results, means over equal sets."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bincodec.eval import measure, metrics, peers
from bincodec.eval.cache import Cache
from bincodec.eval.metrics import psnr
from bincodec.eval.peers import Peer, read_spec
from bincodec.eval.spec import Spec
from bincodec.eval.sweep import Sweep, SweepRow, look, means, read, sweep

Crops = dict[str, NDArray[np.uint8]]
Pixels = NDArray[np.uint8]


def run(photos: list[Path], *specs: str, **others: object) -> Sweep:
    pictures, _ = look([str(photo) for photo in photos])
    return sweep(pictures, [read_spec(spec) for spec in specs], others.pop("names", ("psnr",)), **others)


def timeless(result: Sweep) -> Sweep:
    rows = tuple(dataclasses.replace(row, encode_seconds=0, decode_seconds=0) for row in result.rows)
    return Sweep(rows, result.failures)


def test_rows_are_what_each_codec_gives(photos: list[Path], tiny: Path, crops: Crops) -> None:
    pictures, _ = look([str(photo) for photo in photos])
    specs = [read_spec("bincodec:settings=0,100", model=str(tiny)), read_spec("jpeg:settings=30")]
    result = sweep(pictures, specs, ("psnr", "psnr_y", "ms_ssim"))
    assert not result.failures
    cells = [(row.image, row.codec, row.setting) for row in result.rows]
    each = (("bincodec", 0), ("bincodec", 100), ("jpeg", 30))
    assert cells == [(str(photo), codec, setting) for photo in photos for codec, setting in each]
    row = result.rows[2]
    encoded = peers.find("jpeg")(crops["eye"], 30)
    assert (row.width, row.height, row.bytes) == (64, 48, len(encoded.data))
    assert row.bits_per_pixel == 8 * row.bytes / (64 * 48)
    assert row.metrics["psnr"] == psnr(crops["eye"], encoded.pixels)
    assert row.metrics["psnr_y"] == metrics.find("psnr_y").measure(crops["eye"], encoded.pixels)
    assert math.isnan(row.metrics["ms_ssim"]), "not defined for so small a picture"
    assert row.encode_seconds > 0
    assert row.decode_seconds > 0


def test_the_default_grid_is_the_codec_s_own(photos: list[Path]) -> None:
    settings = [row.setting for row in run(photos[:1], "jpeg").rows]
    assert settings == [5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95]


def test_the_result_does_not_depend_on_the_number_of_processes(photos: list[Path]) -> None:
    one = run(photos, "jpeg", "webp", names=metrics.DEFAULT[:2])
    many = run(photos, "jpeg", "webp", names=metrics.DEFAULT[:2], jobs=3)
    assert len(one.rows) == 2 * (15 + 13)
    assert timeless(one) == timeless(many)


class Fake:
    """Make codecs whose file is the setting and one sample, and count what they do."""

    def __init__(self, about: str = "fake") -> None:
        self.about, self.encoded, self.version = about, 0, b""

    def __call__(self, spec: Spec) -> Peer:
        return Peer(spec.label, self.about, spec.settings or (1, 2), (0, 9), self.encode, self.decode)

    def encode(self, pixels: Pixels, setting: int) -> bytes:
        self.encoded += 1
        height, width, _ = pixels.shape
        return bytes([setting, width, height, *pixels[0, 0]]) + self.version

    def decode(self, data: bytes) -> Pixels:
        return np.full((data[2], data[1], 3), data[0], np.uint8)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of metrics whenever they are measured."""
    names: list[str] = []
    real = metrics.find

    def counting(name: str, **others: Path | None) -> metrics.Metric:
        metric = real(name, **others)

        def count(*pictures: Pixels) -> float:
            names.append(name)
            return metric.measure(*pictures)

        return dataclasses.replace(metric, measure=count)

    monkeypatch.setattr(metrics, "find", counting)
    # The cache of functions keeps the metrics that were found.
    measure._metric.cache_clear()
    return names


def test_what_was_measured_is_not_measured_again(
    photos: list[Path], tmp_path: Path, measured: list[str]
) -> None:
    cache, fake = Cache(tmp_path / "cache"), Fake()
    first = run(photos, "jpeg", cache=cache, build=fake)
    assert fake.encoded == len(measured) == 4
    assert run(photos, "jpeg", cache=cache, build=fake) == first, "seconds too are as they were measured"
    assert fake.encoded == len(measured) == 4
    # The label is new and the codec is the same; the name is new and the pictures are the same.
    renamed = tmp_path / "renamed.png"
    renamed.write_bytes(photos[0].read_bytes())
    run([renamed], "jpeg:settings=1", cache=cache, build=fake)
    assert fake.encoded == 4
    run([renamed], "jpeg:settings=1,3", cache=cache, build=fake)
    assert fake.encoded == 5


def test_another_metric_keeps_the_others(photos: list[Path], tmp_path: Path, measured: list[str]) -> None:
    cache, fake = Cache(tmp_path / "cache"), Fake()
    first = run(photos, "jpeg", cache=cache, build=fake)
    measured.clear()
    both = run(photos, "jpeg", names=("psnr_y", "psnr"), cache=cache, build=fake)
    assert measured == ["psnr_y"] * 4
    assert [list(row.metrics) for row in both.rows] == [["psnr_y", "psnr"]] * 4
    assert [row.metrics["psnr"] for row in both.rows] == [row.metrics["psnr"] for row in first.rows]
    assert [row.encode_seconds for row in both.rows] == [row.encode_seconds for row in first.rows]
    assert fake.encoded == 8


def test_metrics_of_another_file_are_not_kept(
    photos: list[Path], tmp_path: Path, measured: list[str]
) -> None:
    """This codec writes a different file each time. Values of two files must not be mixed in one row."""
    cache, fake = Cache(tmp_path / "cache"), Fake()
    run(photos[:1], "jpeg:settings=1", cache=cache, build=fake)
    fake.version = b"2"
    (row,) = run(photos[:1], "jpeg:settings=1", names=("psnr_y", "psnr"), cache=cache, build=fake).rows
    assert measured == ["psnr", "psnr_y", "psnr"]
    assert row.bytes == 7


@pytest.mark.parametrize("change", ["codec", "version", "picture", "definition"])
def test_whatever_matters_is_measured_anew(
    change: str, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, fake = Cache(tmp_path / "cache"), Fake()
    run(photos[:1], "jpeg:settings=1", cache=cache, build=fake)
    spec = "jpeg:settings=1"
    if change == "codec":
        spec = "webp:settings=1"
    elif change == "version":
        fake.about = "fake 2"
    elif change == "picture":
        with Image.open(photos[0]) as image:
            image.putpixel((9, 9), (1, 2, 3))
            image.save(photos[0])
    else:
        found = dataclasses.replace(metrics.find("psnr"), about="another PSNR")
        monkeypatch.setattr(metrics, "find", lambda *_, **__: found)
        measure._metric.cache_clear()
    run(photos[:1], spec, cache=cache, build=fake)
    assert fake.encoded == 2
    measure._metric.cache_clear()


def test_damaged_results_are_measured_anew(photos: list[Path], tmp_path: Path) -> None:
    cache, fake = Cache(tmp_path / "cache"), Fake()
    first = run(photos, "jpeg", cache=cache, build=fake)
    for path in cache.folder.rglob("*.json"):
        path.write_text(path.read_text()[:-9])
    assert timeless(run(photos, "jpeg", cache=cache, build=fake)) == timeless(first)
    assert fake.encoded == 8


def breaking(encode: Callable[[Pixels, int], bytes]) -> Callable[[Spec], Peer]:
    def build(spec: Spec) -> Peer:
        peer = peers.build(spec)
        return dataclasses.replace(peer, encode=encode) if spec.codec == "webp" else peer

    return build


def test_a_codec_that_raises_loses_its_cell_only(photos: list[Path]) -> None:
    def breaks_on_fur(pixels: Pixels, setting: int) -> bytes:
        if pixels.shape[0] == 64 and setting == 50:
            msg = "out of\nideas"
            raise RuntimeError(msg)
        return peers.find("webp").encode(pixels, setting)

    specs = ("webp:settings=20,50", "jpeg:settings=20,50")
    result = run(photos, *specs, build=breaking(breaks_on_fur))
    (failure,) = result.failures
    assert (failure.image, failure.codec, failure.setting) == (str(photos[1]), "webp", 50)
    assert failure.reason == "RuntimeError: out of ideas"
    assert len(result.rows) == 7
    # The mean at webp 50 would be over one image, and those of its neighbours are over two.
    assert [(p.codec, p.setting) for p in means(result.rows)] == [("webp", 20), ("jpeg", 20), ("jpeg", 50)]


def test_a_picture_of_another_size_is_a_failure(photos: list[Path]) -> None:
    def crops_first(pixels: Pixels, setting: int) -> bytes:
        return peers.find("webp").encode(pixels[:-1], setting)

    result = run(photos[:1], "webp:settings=20", build=breaking(crops_first))
    assert not result.rows
    assert result.failures[0].reason == "ValueError: it decodes to 64x47 pixels, not 64x48"


def test_an_image_that_changes_meanwhile_is_a_failure(photos: list[Path]) -> None:
    pictures, _ = look([str(photos[0])])
    photos[0].write_bytes(photos[1].read_bytes())
    result = sweep(pictures, [read_spec("jpeg:settings=20")], ("psnr",))
    assert not result.rows
    assert "has changed since the run began" in result.failures[0].reason


def row(image: str, codec: str, setting: int, rate: float, value: float) -> SweepRow:
    return SweepRow(image, codec, setting, 16, 16, 1, rate, {"psnr": value, "lpips": value / 100}, 0.1, 0.1)


def test_means_are_of_per_image_values() -> None:
    (point,) = means([row("a", "jpeg", 5, 0.2, 30.0), row("b", "jpeg", 5, 0.4, 40.0)])
    assert (point.images, point.bits_per_pixel) == (2, pytest.approx(0.3))
    assert point.metrics == {"psnr": 35.0, "lpips": pytest.approx(0.35)}


def test_means_with_a_lossless_or_undefined_image() -> None:
    (infinite,) = means([row("a", "jpeg", 5, 0.2, math.inf), row("b", "jpeg", 5, 0.4, 40.0)])
    assert infinite.metrics["psnr"] == math.inf
    (undefined,) = means([row("a", "jpeg", 5, 0.2, math.nan), row("b", "jpeg", 5, 0.4, 40.0)])
    assert math.isnan(undefined.metrics["psnr"])


def test_unreadable_images_are_failures(photos: list[Path], tmp_path: Path) -> None:
    paths = [str(photos[0]), f"{tmp_path}/none.png", str(tmp_path), str(photos[0])]
    pictures, failures = read(paths)
    assert list(pictures) == [str(photos[0])]
    assert [failure.image for failure in failures] == [f"{tmp_path}/none.png", str(tmp_path)]
    found, failed = look(paths)
    assert [(picture.path, picture.width, picture.height) for picture in found] == [(str(photos[0]), 64, 48)]
    assert failed == failures


def test_one_file_of_several_spellings_counts_once(photos: list[Path]) -> None:
    photo = str(photos[0])
    other = str(photos[0].parent / ".." / photos[0].parent.name / photos[0].name)
    link = photos[0].with_name("link.png")
    link.symlink_to(photos[0])
    for function in (look, read):
        with pytest.warns(UserWarning, match="is .* again, which counts once") as said:
            found, failures = function([photo, other, str(link), photo, str(photos[1])])
        assert (len(found), failures, len(said)) == (2, [], 2)
