"""Sweeps: rows from real files, failed cells beside intact ones, means over equal sets of images."""

import dataclasses
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

import bincodec
from bincodec.eval import peers, report
from bincodec.eval.metrics import psnr
from bincodec.eval.sweep import Row, Sweep, means, read, sweep

Crops = dict[str, NDArray[np.uint8]]


def test_rows_are_what_each_codec_gives(codec: bincodec.Codec, crops: Crops) -> None:
    jpeg = peers.find("jpeg")
    chosen = [peers.bincodec(codec), jpeg]
    result = sweep(crops, chosen, {"bincodec": (0, 100), "jpeg": (30,)})
    assert not result.failures
    cells = [(row.image, row.codec, row.setting) for row in result.rows]
    assert cells == [(i, c, s) for i in crops for c, s in (("bincodec", 0), ("bincodec", 100), ("jpeg", 30))]
    row = result.rows[2]
    encoded = jpeg(crops["eye"], 30)
    assert (row.width, row.height, row.bytes) == (64, 48, len(encoded.data))
    assert row.bits_per_pixel == 8 * row.bytes / (64 * 48)
    assert row.psnr == psnr(crops["eye"], encoded.pixels)
    assert row.encode_seconds > 0
    assert row.decode_seconds > 0


def test_the_default_grid_is_the_codec_s_own(crops: Crops) -> None:
    jpeg = peers.find("jpeg")
    rows = sweep({"eye": crops["eye"]}, [jpeg]).rows
    assert tuple(row.setting for row in rows) == jpeg.settings == (5, 10, 15, 20, *range(30, 100, 10), 95)


def test_a_codec_that_raises_loses_its_cell_only(crops: Crops) -> None:
    jpeg = peers.find("jpeg")

    def breaks_on_fur(pixels: NDArray[np.uint8], setting: int) -> bytes:
        if pixels.shape[0] == 64 and setting == 50:
            msg = "out of\nideas"
            raise RuntimeError(msg)
        return jpeg.encode(pixels, setting)

    broken = dataclasses.replace(jpeg, name="broken", encode=breaks_on_fur)
    result = sweep(crops, [broken, jpeg], {"broken": (20, 50), "jpeg": (20, 50)})
    (failure,) = result.failures
    assert (failure.image, failure.codec, failure.setting) == ("fur", "broken", 50)
    assert failure.reason == "RuntimeError: out of ideas"
    assert report.failure_line(failure) == "fur: broken 50: RuntimeError: out of ideas"
    assert len(result.rows) == 7
    # The mean at broken 50 would be over one image, its neighbours' are over two.
    assert [(p.codec, p.setting) for p in means(result.rows)] == [("broken", 20), ("jpeg", 20), ("jpeg", 50)]


def row(image: str, codec: str, setting: int, rate: float, value: float) -> Row:
    return Row(image, codec, setting, 16, 16, 1, rate, value, 0.1, 0.1)


def test_means_are_of_per_image_values() -> None:
    (point,) = means([row("a", "jpeg", 5, 0.2, 30.0), row("b", "jpeg", 5, 0.4, 40.0)])
    assert (point.images, point.bits_per_pixel, point.psnr) == (2, pytest.approx(0.3), 35.0)


def curve_rows(codec: str, factor: float) -> tuple[Row, ...]:
    return tuple(row("a", codec, s, factor * 0.1 * 2**s, 26.0 + 3 * s) for s in range(5))


def test_the_report_names_rate_and_overlap() -> None:
    rows = (*curve_rows("bincodec", 0.5), *curve_rows("jpeg", 1), *curve_rows("webp", 1)[:2])
    text = report.text(Sweep(rows, ()))
    assert "bincodec  -50.0 %  over 26.0-38.0 dB, 0.05-0.80 bits per pixel" in text
    assert "webp      none: the tested curve has 2 points" in text
    assert "jpeg             4      1.6000    38.000" in text
    assert "BD-rate" not in report.text(Sweep(curve_rows("webp", 1), ()))


def test_json_says_it_all_and_stays_json_without_loss(crops: Crops) -> None:
    perfect = dataclasses.replace(row("a", "png", 0, 9.0, math.inf))
    result = Sweep((*curve_rows("bincodec", 0.5), *curve_rows("jpeg", 1), perfect), ())
    content = json.loads(report.as_json(result, [peers.find("jpeg")]))
    assert content["rows"][-1]["psnr"] is None
    assert content["rows"][0] == dataclasses.asdict(result.rows[0])
    assert content["bd_rates"]["bincodec"]["percent"] == pytest.approx(-50)
    assert content["bd_rates"]["png"].startswith("the tested curve has 1 points")
    assert content["codecs"]["jpeg"].startswith("Pillow")
    assert len(content["means"]) == 11


def test_unreadable_images_are_failures(photos: list[object], tmp_path: object) -> None:
    pictures, failures = read([str(photos[0]), f"{tmp_path}/none.png", str(tmp_path)])
    assert list(pictures) == [str(photos[0])]
    assert [failure.image for failure in failures] == [f"{tmp_path}/none.png", str(tmp_path)]
    assert all(failure.image in report.failure_line(failure) for failure in failures)
