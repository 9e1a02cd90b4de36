"""Reports: the table for people, JSON and CSV for programs, and BD by every metric with its range."""

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Sequence

import pytest

from bincodec.eval import metrics, peers, report
from bincodec.eval.curves import PublishedCurve
from bincodec.eval.errors import NameTaken
from bincodec.eval.plain import to_json
from bincodec.eval.report import Bd, Report
from bincodec.eval.sweep import Failure, Sweep, SweepRow

METRICS = tuple(
    metrics.Metric(name, scale.label, scale.unit, scale.higher_is_better, f"own {name}", lambda *_: 0.0)
    for name, scale in metrics.SCALES.items()
    if name in ("psnr", "ms_ssim", "lpips")
)


def curve(codec: str, factor: float) -> tuple[SweepRow, ...]:
    """Return rows in which, with each doubling of the rate, PSNR and MS-SSIM rise and LPIPS falls."""
    return tuple(
        SweepRow(
            "a.png",
            codec,
            s,
            16,
            16,
            1,
            factor * 0.1 * 2**s,
            {"psnr": 26.0 + 3 * s, "ms_ssim": 1 - 10 ** -(1 + 0.3 * s), "lpips": 0.5 - 0.1 * s},
            0.1,
            0.2,
        )
        for s in range(5)
    )


PUBLISHED = PublishedCurve(
    "Best (2031)", "a paper", {"psnr": tuple((0.025 * 2**s, 26.0 + 3 * s) for s in range(5))}
)


def make(
    *rows: SweepRow,
    failures: Sequence[Failure] = (),
    published: Sequence[PublishedCurve] = (),
    anchor: str = "jpeg",
    skipped: Sequence[str] = (),
) -> Report:
    result = Sweep(rows, tuple(failures))
    return Report(result, (peers.find("jpeg"),), METRICS, tuple(published), anchor, tuple(skipped))


def test_text_names_rate_and_overlap() -> None:
    text = report.text(
        make(*curve("bincodec", 0.5), *curve("jpeg", 1), *curve("webp", 1)[:2], published=[PUBLISHED])
    )
    lines = text.splitlines()
    assert lines[0] == "Means over 1 image"
    assert lines[1].split("  ")[-1] == "LPIPS (Alex)"
    assert lines[1].split()[:4] == ["codec", "setting", "bits/pixel", "PSNR"]
    assert [line.split() for line in lines if line.startswith("jpeg ")][-1] == [
        "jpeg", "4", "1.6000", "38.000", "0.99369", "0.1000"
    ]  # fmt: skip
    assert "BD-rate against jpeg (PSNR, PCHIP)" in lines
    range_ = "over 26.0-38.0 dB, 0.05-0.80 bits per pixel; +3.00 dB at equal rate"
    assert f"bincodec     -50.0 %  {range_}" in lines
    assert (
        "Best (2031)  -75.0 %  over 26.0-38.0 dB, 0.03-0.40 bits per pixel; +6.00 dB at equal rate" in lines
    )
    assert "webp         none: the tested curve has 2 points, fewer than 4" in lines
    assert "bincodec     -50.0 %  over 0.9-0.9937, 0.05-0.80 bits per pixel; +3.00 dB at equal rate" in lines
    # LPIPS is not in dB, and the paper does not give it.
    after = lines[lines.index("BD-rate against jpeg (LPIPS (Alex), PCHIP)") :]
    assert after[1] == "bincodec     -50.0 %  over 0.1-0.5, 0.05-0.80 bits per pixel"
    assert not any(line.startswith("Best") for line in after[:4])
    assert lines[-1] == "Best (2031): a paper"


def test_columns_stand_under_their_titles() -> None:
    lines = report.text(make(*curve("avif:tune=psnr:speed=4", 1))).splitlines()
    assert {len(line) for line in lines[1:7]} == {len(lines[1])}


def test_bd_takes_any_anchor_also_a_published_one() -> None:
    rows = (*curve("bincodec", 0.5), *curve("jpeg", 1))
    against_bincodec = make(*rows, published=[PUBLISHED], anchor="bincodec").bd()
    assert [(bd.codec, bd.metric) for bd in against_bincodec] == [
        ("jpeg", "psnr"),
        ("Best (2031)", "psnr"),
        ("jpeg", "ms_ssim"),
        ("jpeg", "lpips"),
    ]
    assert against_bincodec[0].rate_percent == pytest.approx(100)
    against_best = make(*rows, published=[PUBLISHED], anchor="Best (2031)").bd()
    assert [(bd.codec, bd.metric) for bd in against_best] == [("bincodec", "psnr"), ("jpeg", "psnr")]
    assert against_best[1] == Bd(
        "jpeg",
        "psnr",
        "Best (2031)",
        pytest.approx(300),
        pytest.approx(-6),
        26.0,
        38.0,
        (pytest.approx(0.1), pytest.approx(1.6)),
    )
    assert make(*curve("bincodec", 1)).bd() == []


def test_a_codec_without_a_gain_still_has_its_rate() -> None:
    """The qualities are equal, but the rates are so different that there is no common rate."""
    (bd, *_) = make(*curve("bincodec", 0.01), *curve("jpeg", 1)).bd()
    assert bd.rate_percent == pytest.approx(-99)
    assert bd.gain_db is None
    assert bd.reason is None


def test_json_says_it_all_and_stays_json_without_loss() -> None:
    perfect = SweepRow(
        "a.png", "png", 0, 16, 16, 1, 9.0, {"psnr": math.inf, "ms_ssim": math.nan, "lpips": 0.0}, 1, 1
    )
    failures = [Failure("b.png", "b.png: not an image"), Failure("a.png", "tired", "webp", 5)]
    made = make(*curve("bincodec", 0.5), *curve("jpeg", 1), perfect, failures=failures, published=[PUBLISHED])
    shown = [{"image": "a.png", "pictures": []}]
    content = json.loads(to_json(report.content(made, shown)))
    assert content["schema"] == 2
    assert content["anchor"] == "jpeg"
    assert content["codecs"]["jpeg"].startswith("Pillow")
    assert content["metrics"]["lpips"] == {
        "label": "LPIPS (Alex)", "unit": "", "higher_is_better": False, "about": "own lpips"
    }  # fmt: skip
    first = content["rows"][0]
    assert list(first) == [
        "image", "codec", "setting", "width", "height", "bytes", "bits_per_pixel",
        "encode_seconds", "decode_seconds", "psnr", "ms_ssim", "lpips",
    ]  # fmt: skip
    assert (first["codec"], first["bits_per_pixel"], first["psnr"], first["decode_seconds"]) == (
        "bincodec", 0.05, 26.0, 0.2
    )  # fmt: skip
    assert (content["rows"][-1]["psnr"], content["rows"][-1]["ms_ssim"]) == (None, None)
    assert content["failures"][1] == {"image": "a.png", "reason": "tired", "codec": "webp", "setting": 5}
    assert len(content["means"]) == 11
    assert content["means"][0] == {
        "codec": "bincodec", "setting": 0, "images": 1, "bits_per_pixel": 0.05,
        "psnr": 26.0, "ms_ssim": first["ms_ssim"], "lpips": 0.5,
    }  # fmt: skip
    by_codec = {(bd["codec"], bd["metric"]): bd for bd in content["bd"]}
    assert by_codec["bincodec", "psnr"]["rate_percent"] == pytest.approx(-50)
    assert by_codec["bincodec", "psnr"]["bits_per_pixel"] == pytest.approx([0.05, 0.8])
    assert by_codec["png", "psnr"]["reason"] == (
        "the tested curve has an infinite PSNR at 9 bits per pixel: files there are lossless"
    )
    assert by_codec["png", "ms_ssim"]["reason"] == "MS-SSIM is not defined for a.png, too small for it"
    assert by_codec["png", "psnr"]["rate_percent"] is None
    assert content["curves"][0]["points"]["psnr"][1] == [0.05, 29.0]
    assert content["comparisons"] == shown


def test_csv_has_a_line_for_each_row() -> None:
    odd = SweepRow(
        'a, "b".png', "png", 0, 16, 16, 1, 9.0, {"psnr": math.inf, "ms_ssim": math.nan, "lpips": 0.0}, 1, 1
    )
    lines = list(csv.DictReader(io.StringIO(report.as_csv([*curve("jpeg", 1), odd]))))
    assert len(lines) == 6
    assert lines[0]["psnr"] == "26.0"
    assert (lines[5]["image"], lines[5]["psnr"], lines[5]["ms_ssim"]) == ('a, "b".png', "inf", "")
    assert report.as_csv([]) == "\n"


def test_failures_in_one_line() -> None:
    assert report.failure_line(Failure("a.png", "a.png: not an image")) == "a.png: not an image"
    assert report.failure_line(Failure("a.png", "tired", "webp", 50)) == "a.png: webp 50: tired"
    assert report.failure_line(Failure("a.png", "tired", "webp")) == "a.png: webp: tired"


@pytest.mark.parametrize("name", ["jpeg", "bincodec", "Best (2031)"])
def test_no_curve_takes_the_place_of_another(name: str) -> None:
    again = dataclasses.replace(PUBLISHED, name=name)
    with pytest.raises(NameTaken, match=re.escape(repr(name))):
        make(*curve("bincodec", 0.5), published=[PUBLISHED, again])


def of_two_images(*rows: SweepRow) -> tuple[SweepRow, ...]:
    return (*rows, *(dataclasses.replace(row, image="b.png") for row in rows))


def test_a_codec_that_fails_for_one_image_has_its_reason() -> None:
    both = of_two_images(*curve("jpeg", 1))
    webp = of_two_images(*curve("webp", 1))[:-2]
    heic = [Failure(image, "tired", "heic", 7) for image in ("a.png", "b.png")]
    failures = [*(Failure("b.png", "tired", "webp", setting) for setting in (3, 4)), *heic]
    made = make(*both, *webp, failures=failures)
    assert [(d.codec, d.setting, d.images, d.total) for d in made.dropped()] == [
        ("heic", 7, 0, 2), ("webp", 3, 1, 2), ("webp", 4, 1, 2)
    ]  # fmt: skip
    reasons = {bd.codec: bd.reason for bd in made.bd() if bd.metric == "psnr"}
    assert reasons == {
        "webp": "the tested curve has 3 points, fewer than 4; "
        "settings that lack images: webp 3 (1 of 2), webp 4 (1 of 2)",
        "heic": "the tested curve has 0 points, fewer than 4; settings that lack images: heic 7 (0 of 2)",
    }
    settings = "heic 7 (0 of 2), webp 3 (1 of 2), webp 4 (1 of 2)"
    assert f"Without means, as images failed there: {settings}" in report.text(made).splitlines()
    assert report.content(made)["dropped"][1] == {"codec": "webp", "setting": 3, "images": 1, "total": 2}
    (against_webp, *_) = make(*both, *webp, failures=failures[:2], anchor="webp").bd()
    assert against_webp.reason is not None
    assert against_webp.reason.startswith("the anchor has 3 points")
    assert make(*both).dropped() == []


def test_an_image_that_is_too_small_for_a_metric_is_the_reason() -> None:
    rows = of_two_images(*curve("bincodec", 0.5), *curve("jpeg", 1))
    small = [
        dataclasses.replace(row, metrics={**row.metrics, "ms_ssim": math.nan})
        if row.image == "b.png"
        else row
        for row in rows
    ]
    found = {bd.metric: bd for bd in make(*small).bd()}
    assert found["ms_ssim"].reason == "MS-SSIM is not defined for b.png, too small for it"
    assert found["psnr"].rate_percent == pytest.approx(-50)


def test_a_run_without_its_anchor_says_so() -> None:
    line = "No BD-rates: jpeg, which they are against, is not in this run"
    assert line in report.text(make(*curve("bincodec", 1), *curve("webp", 1))).splitlines()
    assert line not in report.text(make(*curve("bincodec", 1), *curve("jpeg", 1)))


def test_what_is_no_utf_8_is_escaped() -> None:
    name = "bad\udcff.png"
    rows = [dataclasses.replace(row, image=name) for row in curve("bincodec:model=\udcff", 1)]
    made = make(*rows, failures=[Failure(name, f"{name}: no")], skipped=["x"])
    content = json.loads(to_json(report.content(made)).encode())
    assert content["rows"][0]["image"] == content["failures"][0]["image"] == "bad\\udcff.png"
    assert content["skipped"] == ["x"]
    assert "model=\\udcff" in report.text(made).encode().decode()
