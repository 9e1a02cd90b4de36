"""`bincodec eval rd`: tables, files in the folder, failures named, exit codes, interruption."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from bincodec.eval import cache, formats, measure
from bincodec.eval.curves import shipped

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
Rd = Callable[..., Result]


@pytest.fixture
def photos(crop: Image.Image, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    crop.save(paths[0])
    crop.transpose(Image.Transpose.ROTATE_90).crop((0, 0, 40, 40)).save(paths[1])
    return paths


@pytest.fixture
def rd(run: Callable[..., Result], tmp_path: Path) -> Rd:
    """The command in this process, with a cache and output folder of its own."""

    def invoke(*arguments: object) -> Result:
        measure.adapter.cache_clear()
        places = ("--cache", tmp_path / "cache", "-o", tmp_path / "out", "--jobs", 0, "--model", TINY)
        return run("eval", "rd", *places, *arguments)

    return invoke


def report_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_rows_means_page_and_comparisons(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    result = rd(*photos, "--codec", "bincodec", "--codec", "jpeg", "--quality", "100,0", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    content = report_in(tmp_path / "out")
    found = [(row["image"], row["codec"], row["setting"]) for row in content["rows"]]
    jpeg = [5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95]
    assert found == [
        (str(photo), codec, setting)
        for photo in photos
        for codec, settings in (("bincodec", [0, 100]), ("jpeg", jpeg))
        for setting in settings
    ]
    assert list(content["metrics"]) == ["psnr", "psnr_y", "ms_ssim"]
    assert "tiny-1" in content["codecs"]["bincodec"]
    assert "Means over 2 images" in result.stdout
    mean = sum(row["psnr"] for row in content["rows"] if row["setting"] == 95) / 2
    assert f"{mean:.3f}" in result.stdout
    assert "bincodec  none: the tested curve has 2 points" in result.stdout
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["psnr"]) for line in lines] == [row["psnr"] for row in content["rows"]]
    shown = content["comparisons"]
    assert [(s["image"], s["bits_per_pixel"]) for s in shown] == [
        (str(p), t) for p in photos for t in (0.2, 0.5)
    ]
    for comparison in shown:
        assert [picture["codec"] for picture in comparison["pictures"]] == ["bincodec", "jpeg"]
        for picture in (comparison["original"], *(picture["file"] for picture in comparison["pictures"])):
            with Image.open(tmp_path / "out" / picture) as image:
                assert image.size == (comparison["width"], comparison["height"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "tiny-1" in page


def test_a_second_run_measures_nothing(
    rd: Rd, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*photos, "--codec", "jpeg:settings=20,50,80", "--quiet")
    first = rd(*arguments)
    content = report_in(tmp_path / "out")

    def refuse(*_: object) -> bytes:
        msg = "encoded again"
        raise AssertionError(msg)

    monkeypatch.setattr(formats.Format, "encode", refuse)
    second = rd(*arguments)
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert report_in(tmp_path / "out") == content
    # The refusal does bite where there is something to do.
    assert rd(*photos, "--codec", "jpeg:settings=30", "--no-page").exit_code == 1


def test_specs_metrics_curves_and_anchors(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    name = shipped()[0]
    grid = "settings=5,20,50,80"
    codecs = ("--codec", f"jpeg:{grid}", "--codec", f"jpeg:subsampling=4:4:4:{grid}")
    result = rd(
        *photos, *codecs, "--metric", "psnr", "--curve", name, "--anchor", "jpeg:subsampling=444", "--no-page"
    )
    assert result.exit_code == 0, result.stderr
    content = report_in(tmp_path / "out")
    assert list(content["codecs"]) == ["jpeg", "jpeg:subsampling=444"]
    assert content["anchor"] == "jpeg:subsampling=444"
    (curve,) = content["curves"]
    assert {bd["codec"] for bd in content["bd"]} == {"jpeg", curve["name"]}
    assert {bd["metric"] for bd in content["bd"]} == {"psnr"}
    assert content["comparisons"] == []
    assert not (tmp_path / "out" / "report.html").exists()
    result = rd(*photos, *codecs, "--metric", "psnr", "--curve", name, "--anchor", name, "--no-page")
    assert report_in(tmp_path / "out")["anchor"] == curve["name"]


def test_comparisons_at_chosen_rates(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    codecs = ("--codec", "jpeg:settings=5", "--codec", "webp:settings=5")
    assert rd(photos[0], *codecs, "--compare", "4,2").exit_code == 0
    shown = report_in(tmp_path / "out")["comparisons"]
    assert [s["bits_per_pixel"] for s in shown] == [4, 2]
    for comparison in shown:
        for picture in comparison["pictures"]:
            assert picture["bits_per_pixel"] == pytest.approx(comparison["bits_per_pixel"], rel=0.1)


def test_a_bad_image_is_named_and_the_others_are_there(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    result = rd(photos[0], bad, "--codec", "jpeg")
    assert result.exit_code == 1
    assert f"failed: {bad}: this is not an image" in result.stderr
    assert "1 failed" in result.stderr.splitlines()[-1]
    assert "Means over 1 image\n" in result.stdout
    content = report_in(tmp_path / "out")
    assert len(content["rows"]) == 15
    assert [failure["image"] for failure in content["failures"]] == [str(bad)]
    assert (tmp_path / "out" / "report.html").exists()


def test_a_codec_that_raises_is_named_and_the_others_are_there(
    rd: Rd, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = formats.Format.encode

    def fail_at_50(self: formats.Format, values: Any, pixels: Any, setting: int) -> bytes:
        if (self.pillow, setting) == ("WEBP", 50):
            msg = "tired"
            raise OSError(msg)
        return real(self, values, pixels, setting)

    monkeypatch.setattr(formats.Format, "encode", fail_at_50)
    codecs = ("--codec", "webp:settings=20,50", "--codec", "jpeg:settings=50")
    result = rd(*photos, *codecs, "--no-page")
    assert result.exit_code == 1
    notes = [line for line in result.stderr.splitlines() if "failed:" in line]
    assert notes == [f"bincodec: note: failed: {photo}: webp 50: OSError: tired" for photo in photos]
    content = report_in(tmp_path / "out")
    assert len(content["rows"]) == 4
    assert [(f["codec"], f["setting"]) for f in content["failures"]] == [("webp", 50)] * 2


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are text there")
def test_names_that_are_no_text_are_escaped(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    odd = photos[0].with_name("bad\udcff.png")
    photos[0].rename(odd)
    missing = odd.with_name("none\udcff.png")
    result = rd(odd, missing, "--codec", "jpeg:settings=50", "--quiet")
    assert result.exit_code == 1
    content = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert [row["image"] for row in content["rows"]] == [str(tmp_path / "bad\\udcff.png")]
    assert [failure["image"] for failure in content["failures"]] == [str(tmp_path / "none\\udcff.png")]
    assert "bad\\udcff.png" in (tmp_path / "out" / "rows.csv").read_bytes().decode()
    assert (tmp_path / "out" / "report.html").exists()


def test_what_an_earlier_run_has_left_goes(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (*photos, "--codec", "jpeg:settings=50")
    assert rd(*arguments, "--compare", "1,2").exit_code == 0
    own = out / "pictures" / "mine.webp"
    own.write_bytes(b"mine")
    assert len(list((out / "pictures").iterdir())) == 4 * 2 + 1
    assert rd(*arguments, "--compare", "1").exit_code == 0
    (first, second) = report_in(out)["comparisons"]
    shown = [shown for c in (first, second) for shown in (c["original"], c["pictures"][0]["file"])]
    assert {*map(out.joinpath, shown), own} == set((out / "pictures").iterdir())
    assert (out / "report.html").exists()
    assert rd(*arguments, "--no-page").exit_code == 0
    assert set((out / "pictures").iterdir()) == {own}
    assert not (out / "report.html").exists()
    own.unlink()
    assert rd(*arguments, "--compare", "1").exit_code == 0
    assert rd(*arguments, "--no-page").exit_code == 0
    assert {path.name for path in out.iterdir()} == {"report.json", "rows.csv"}


@pytest.mark.parametrize("name", ["rows.csv", "report.html"])
def test_files_of_somebody_else_are_left_alone(
    rd: Rd, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "measured"
        raise AssertionError(msg)

    monkeypatch.setattr("bincodec.eval.study.run", refuse)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    result = rd(photos[0], "--codec", "jpeg")
    assert result.exit_code == 1
    assert f"{name}: this file exists, but there is no earlier report (report.json)" in result.stderr
    assert (tmp_path / "out" / name).read_bytes() == b"mine"


def test_the_folder_is_made_before_anything_is_measured(
    rd: Rd, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "measured"
        raise AssertionError(msg)

    monkeypatch.setattr("bincodec.eval.study.run", refuse)
    (tmp_path / "file").write_text("")
    result = rd(photos[0], "--codec", "jpeg", "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "file" in result.stderr


def test_curves_of_taken_names_are_refused_before_anything_is_measured(
    rd: Rd, photos: list[Path], tmp_path: Path
) -> None:
    curve = {"name": "jpeg", "source": "a paper", "bpp": [0.1, 0.2, 0.4, 0.8], "psnr": [25, 28, 31, 34]}
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(curve))
    result = rd(photos[0], "--codec", "jpeg:settings=50", "--curve", path)
    assert result.exit_code == 2
    assert "is called 'jpeg' like the published curve" in result.stderr
    path.write_text(json.dumps({**curve, "name": "Kin"}))
    copy = tmp_path / "copy.json"
    copy.write_bytes(path.read_bytes())
    result = rd(photos[0], "--codec", "jpeg:settings=50", "--curve", path, "--curve", copy)
    assert result.exit_code == 2
    assert "'Kin'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    # The title of a curve names it as well as its file does.
    result = rd(photos[0], "--codec", "jpeg:settings=50", "--curve", path, "--anchor", "Kin", "--no-page")
    assert result.exit_code == 0, result.stderr
    assert report_in(tmp_path / "out")["anchor"] == "Kin"


def test_a_run_without_the_anchor_says_so(rd: Rd, photos: list[Path]) -> None:
    result = rd(photos[0], "--codec", "webp:settings=50", "--no-page")
    assert result.exit_code == 0
    assert "No BD-rates: jpeg, which they are against, is not in this run" in result.stdout


@pytest.mark.filterwarnings("default")
def test_one_file_of_two_spellings_counts_once(rd: Rd, photos: list[Path], tmp_path: Path) -> None:
    again = tmp_path / ".." / tmp_path.name / photos[0].name
    result = rd(photos[0], again, "--codec", "jpeg:settings=50", "--no-page")
    assert result.exit_code == 0
    assert f"note: {again} is {photos[0]} again, which counts once" in result.stderr
    assert len(report_in(tmp_path / "out")["rows"]) == 1


def test_no_image_at_all_writes_nothing(rd: Rd, tmp_path: Path) -> None:
    result = rd(tmp_path / "none.png", tmp_path / "nor-this.png", "--codec", "jpeg")
    assert result.exit_code == 1
    assert "none.png" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "bincodec: error: 2 failed; nothing is left to report and nothing was written"
    )
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_what_is_not_installed_is_named_and_skipped(
    rd: Rd, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pillow_jxl", "pytorch_msssim"):
        monkeypatch.setitem(sys.modules, module, None)
    metrics = ("--metric", "psnr", "--metric", "ms_ssim")
    result = rd(*photos, "--codec", "jxl", "--codec", "jpeg:settings=50", *metrics, "--quiet")
    assert result.exit_code == 0
    assert "note: skipped: jxl needs the package pillow-jxl-plugin" in result.stderr
    assert "note: skipped: MS-SSIM needs the package pytorch-msssim" in result.stderr
    content = report_in(tmp_path / "out")
    assert list(content["codecs"]) == ["jpeg"]
    assert list(content["metrics"]) == ["psnr"]
    assert [reason.split(" needs ")[0] for reason in content["skipped"]] == ["jxl", "MS-SSIM"]
    assert "pillow-jxl-plugin" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert rd(*photos, "--codec", "jxl").exit_code == 1
    assert rd(*photos, "--codec", "jpeg", "--metric", "ms_ssim").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "50,fine"], "list of integers"),
        (["--quality", "50,101"], "0..100"),
        (["--codec", "gif"], "no codec is called 'gif'"),
        (["--codec", "jpeg:speed=3"], "jpeg has no option 'speed'"),
        (["--codec", "jpeg", "--codec", "jpeg:settings=5"], "jpeg is given twice"),
        (["--metric", "beauty"], "no metric is called 'beauty'"),
        (["--curve", "nosuch"], "'nosuch' is neither a file nor"),
        (["--anchor", "avif"], "--anchor avif: this run only has"),
        (["--anchor", "best"], "--anchor best: this run only has"),
        (["--compare", "1,two"], "list of numbers"),
        (["--compare", "0"], "above 0"),
        (["--jobs", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_usage_is_one_line(rd: Rd, photos: list[Path], arguments: list[str], message: str) -> None:
    result = rd(photos[0], *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_images_and_a_folder_are_needed(run: Callable[..., Result]) -> None:
    for arguments, message in ((["a.png"], "-o"), (["-o", "x"], "IMAGES")):
        result = run("eval", "rd", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr


def test_the_usual_cache_is_the_user_s(
    run: Callable[..., Result], photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    options = ("--codec", "jpeg:settings=50", "--no-page", "--jobs", 0, "-o", tmp_path / "out")
    assert run("eval", "rd", photos[0], *options).exit_code == 0
    assert len(list((tmp_path / "home" / "bincodec" / "eval").rglob("*.json"))) == 1
    assert cache.default_folder() == tmp_path / "home" / "bincodec" / "eval"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups, as a terminal's Ctrl-C does")
def test_an_interruption_keeps_what_is_done(photos: list[Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "cache", tmp_path / "out"
    qualities = ",".join(map(str, range(101)))
    # As a terminal's child would: what starts the tests may have told its children to ignore Ctrl-C.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from bincodec.cli.main import main; main()"
    # Far more cells than are done before the interruption arrives, on a busy machine too.
    codecs = [word for layers in (1, 2, 3) for word in ("--codec", f"bincodec:layers={layers}")]
    arguments = ["eval", "rd", *map(str, photos), *codecs, "--quality", qualities, "--no-page"]
    places = ["--model", str(TINY), "--cache", str(folder), "-o", str(out), "--jobs", "2", "--metric", "psnr"]
    command = [sys.executable, "-c", code, *arguments, *places]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        end = time.monotonic() + 240
        while not list(folder.rglob("*.json")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, talk = process.communicate(timeout=240)
    assert process.returncode == 130, talk
    kept = len(list(folder.rglob("*.json")))
    assert 0 < kept < 606, "not interrupted on the way"
    assert talk == (
        f"bincodec: error: interrupted: {kept} of 606 are done and kept in {folder}; "
        "the same command goes on from there\n"
    )
    assert not out.exists()
    assert not list(folder.rglob("*.tmp"))
